"""Comparisons of two systems, against enumeration and the plain bootstrap."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from diffutron.evaluation.statistics.intervals import (
    holm,
    items_to_compare,
    mcnemar,
    permutation_interval,
)
from diffutron.evaluation.statistics.pair_tests import (
    BETTER,
    DRAWS,
    OPEN,
    WORSE,
    Results,
    _bootstrap,
    compare,
    compare_all,
    verdict,
)

KEYS = {"a", "b", "task", "protocol", "n", "p_value", "p_holm", "verdict", "items_needed"}


def results(name, groups=None, **correct):
    tasks = {task: dict(enumerate(map(bool, right))) for task, right in correct.items()}
    return Results(
        name,
        tasks,
        {
            task: {row: (groups or {}).get(row, f"row {row}") for row in right}
            for task, right in tasks.items()
        },
    )


def test_a_task_is_mcnemar_and_holm_over_the_tasks():
    a = results("a", x=[1] * 30 + [0] * 10, y=[1, 0] * 20)
    b = results("b", x=[0] * 30 + [0] * 10, y=[0, 1] * 20)
    x, y, mean = compare(a, b, ["x", "y"], protocol="corrected")
    assert set(x) >= KEYS
    assert x["p_value"] == mcnemar(30, 0)
    assert (x["p_holm"], y["p_holm"]) == tuple(holm([mcnemar(30, 0), mcnemar(20, 20)]))
    assert (x["verdict"], y["verdict"]) == (BETTER, OPEN)
    assert x["items_needed"] == items_to_compare(30 / 40, 0)
    assert y["items_needed"] is None, "no difference, so no number of items shows one"
    assert (x["n"], x["difference"], mean["task"], mean["n"]) == (40, 0.75, "mean", 80)
    assert mean["difference"] == pytest.approx(0.375)
    assert mean["low"] < 0.375 < mean["high"]


def test_a_pair_turned_round_says_the_opposite():
    a, b = results("a", x=[1] * 20 + [0] * 20), results("b", x=[0] * 40)
    (forward,) = compare(a, b, ["x"], protocol="corrected")
    (backward,) = compare(b, a, ["x"], protocol="corrected")
    assert (forward["verdict"], backward["verdict"]) == (BETTER, WORSE)
    assert forward["p_value"] == backward["p_value"]
    assert forward["low"] == pytest.approx(-backward["high"])


def test_only_shared_items_count_and_only_shared_tasks():
    a = results("a", x=[1, 1, 1, 0], y=[1, 1])
    b = results("b", x=[1, 0, 1, 0, 1, 1], z=[1, 1])
    entries = compare_all([a, b, results("c", w=[1])], protocol="cetvel")
    assert [(e["a"], e["b"], e["task"], e["n"], e["protocol"]) for e in entries] == [
        ("a", "b", "x", 4, "cetvel")
    ]


def test_verdict_needs_significance_and_a_difference():
    assert verdict(0.1, 0.049) == BETTER
    assert verdict(-0.1, 0.049) == WORSE
    assert verdict(0.1, 0.05) == OPEN
    assert verdict(0.0, 0.0) == OPEN


def test_bootstrap_by_kinds_matches_drawing_single_groups():
    """Mean, spread and quantiles of the multinomial form against plain resampling of groups."""
    generator = np.random.default_rng(0)
    delta = generator.integers(-1, 2, 60).astype(float)
    groups = [f"g{n // 3}" if n < 30 else f"r{n}" for n in range(60)]
    fast = _bootstrap(delta, groups, np.random.default_rng(1))
    names = sorted(set(groups))
    member = [[n for n, g in enumerate(groups) if g == name] for name in names]
    plain = []
    for _ in range(4000):
        rows = [n for k in generator.integers(0, len(names), len(names)) for n in member[k]]
        plain.append(delta[rows].mean())
    assert len(fast) == DRAWS
    assert fast.mean() == pytest.approx(np.mean(plain), abs=0.01)
    assert fast.std() == pytest.approx(np.std(plain), rel=0.06)
    assert np.quantile(fast, [0.05, 0.95]) == pytest.approx(
        np.quantile(plain, [0.05, 0.95]), abs=0.03
    )


def test_items_of_one_passage_make_the_interval_wider():
    right = [1] * 50 + [0] * 50
    passage = {row: f"passage {row // 10}" for row in range(100)}
    other = [0, 1] * 50
    alone = compare(results("a", x=right, y=right), results("b", x=other, y=other), ["x", "y"],
                    protocol="p")[-1]  # fmt: skip
    together = compare(
        results("a", passage, x=right, y=right), results("b", passage, x=other, y=other),
        ["x", "y"], protocol="p",
    )[-1]  # fmt: skip
    assert together["high"] - together["low"] > 1.2 * (alone["high"] - alone["low"])


def test_items_needed_of_the_mean_have_the_stated_power():
    """With that many items, a normal test of this effect finds it in 80 % of the cases."""
    generator = np.random.default_rng(0)
    a = results("a", x=generator.random(400) < 0.55, y=generator.random(400) < 0.55)
    b = results("b", x=generator.random(400) < 0.5, y=generator.random(400) < 0.5)
    mean = compare(a, b, ["x", "y"], protocol="p")[-1]
    stderr = (mean["high"] - mean["low"]) / 2 / 1.96 * math.sqrt(800 / mean["items_needed"])
    reach = abs(mean["difference"]) / stderr
    assert stats.norm.sf(1.96 - reach) == pytest.approx(0.8, abs=0.02)


def test_a_mean_difference_that_cancels_is_none():
    """1/10 and -1/10 do not add up to 0 in floats with 3/10 in between."""
    a = results("a", x=[1] + [0] * 9, y=[1] * 3 + [0] * 7, z=[0] * 10)
    b = results("b", x=[0] * 10, y=[0] * 10, z=[1] * 4 + [0] * 6)
    mean = compare(a, b, ["x", "y", "z"], protocol="p")[-1]
    assert mean["difference"] == 0
    assert mean["items_needed"] is None
    assert mean["verdict"] == OPEN


@pytest.mark.parametrize(
    ("predicted", "gold"),
    [([0, 0, 1, 2, 1], [0, 1, 1, 2, 0]), ([0, 0, 0, 0, 0], [0, 1, 1, 0, 2])],
)
def test_permutation_interval_matches_enumeration(predicted, gold):
    hits = [
        sum(a == b for a, b in zip(predicted, dealt, strict=True))
        for dealt in itertools.permutations(gold)
    ]
    expected = sum((predicted.count(k) / 5) * (gold.count(k) / 5) for k in range(3)) * 5
    assert np.mean(hits) == pytest.approx(expected)
    assert permutation_interval(predicted, gold) == (min(hits), max(hits))


def test_permutation_interval_of_a_large_set_is_hypergeometric():
    """Two classes: the hits are 2 x hypergeometric plus a constant."""
    predicted, gold = [0] * 30 + [1] * 70, [0] * 40 + [1] * 60
    low, high = permutation_interval(predicted, gold)
    both = stats.hypergeom(100, 40, 30)
    exact = [2 * both.ppf(q) + 30 for q in (0.0005, 0.9995)]
    assert (low, high) == pytest.approx(exact, abs=2)
    with pytest.raises(ValueError, match="need as many"):
        permutation_interval([0], [])
