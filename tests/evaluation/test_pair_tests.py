"""Comparisons of two systems, against enumeration and the plain bootstrap."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from diffutron.evaluation.statistics.intervals import DRAWS, grouped_means, permutation_interval
from diffutron.evaluation.statistics.pair_tests import (
    BETTER,
    OPEN,
    WORSE,
    Results,
    compare,
    compare_all,
    holm,
    items_to_compare,
    mcnemar,
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
    x, y, mean = compare(a, b, protocol="corrected")
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
    (forward,) = compare(a, b, protocol="corrected")
    (backward,) = compare(b, a, protocol="corrected")
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
    fast = grouped_means(delta, groups, np.random.default_rng(1))
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
    pair = [results("a", x=right, y=right), results("b", x=other, y=other)]
    grouped = [results("a", passage, x=right, y=right), results("b", passage, x=other, y=other)]
    alone, together = compare(*pair, protocol="p")[-1], compare(*grouped, protocol="p")[-1]
    assert together["high"] - together["low"] > 1.2 * (alone["high"] - alone["low"])


def test_items_needed_of_the_mean_have_the_stated_power():
    """With that many items, a normal test of this effect finds it in 80 % of the cases."""
    generator = np.random.default_rng(0)
    a = results("a", x=generator.random(400) < 0.55, y=generator.random(400) < 0.55)
    b = results("b", x=generator.random(400) < 0.5, y=generator.random(400) < 0.5)
    mean = compare(a, b, protocol="p")[-1]
    stderr = (mean["high"] - mean["low"]) / 2 / 1.96 * math.sqrt(800 / mean["items_needed"])
    reach = abs(mean["difference"]) / stderr
    assert stats.norm.sf(1.96 - reach) == pytest.approx(0.8, abs=0.02)


def test_a_mean_difference_that_cancels_is_none():
    """1/10 and -1/10 do not add up to 0 in floats with 3/10 in between."""
    a = results("a", x=[1] + [0] * 9, y=[1] * 3 + [0] * 7, z=[0] * 10)
    b = results("b", x=[0] * 10, y=[0] * 10, z=[1] * 4 + [0] * 6)
    mean = compare(a, b, protocol="p")[-1]
    assert mean["difference"] == 0
    assert mean["items_needed"] is None
    assert mean["verdict"] == OPEN


@pytest.mark.parametrize(
    ("predicted", "gold"), [([0, 0, 1, 2, 1], [0, 1, 1, 2, 0]), ([0, 0, 0, 0, 0], [0, 1, 1, 0, 2])]
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


def test_mcnemar_matches_enumeration():
    only_a, only_b = 2, 7
    flips = list(itertools.product((0, 1), repeat=only_a + only_b))
    exact = sum(abs(sum(f) - 4.5) >= abs(only_a - 4.5) for f in flips) / len(flips)
    assert mcnemar(only_a, only_b) == pytest.approx(exact, rel=1e-12)
    assert mcnemar(0, 0) == 1.0


def test_holm_worked_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_raw_and_the_bonferroni_value(p_values):
    for raw, adjusted in zip(p_values, holm(p_values), strict=True):
        assert raw <= adjusted + 1e-15
        assert adjusted <= min(1.0, raw * len(p_values)) + 1e-15


def test_items_to_compare_worked_by_hand():
    # z = 1.959964 and 0.841621; p = 0.3, d = 0.1:
    # (1.959964 * 0.547723 + 0.841621 * 0.538516)^2 / 0.01 = 233.06
    assert items_to_compare(0.2, 0.1) == 234
    assert items_to_compare(0.1, 0.2) == 234
    with pytest.raises(ValueError, match="equal rates"):
        items_to_compare(0.1, 0.1)


def test_no_common_item_is_no_comparison():
    a, b = results("a", x=[1, 1]), results("b", y=[1])
    b.correct["x"], b.groups["x"] = {7: True}, {7: "row 7"}
    assert compare(a, b, protocol="p") == []
    assert compare_all([a, b], protocol="p") == []


def test_alpha_decides_the_verdict():
    a, b = results("a", x=[1] * 6), results("b", x=[0] * 6)  # p = 2/64
    verdicts = [compare(a, b, protocol="p", alpha=alpha)[0]["verdict"] for alpha in (0.05, 0.01)]
    assert verdicts == [BETTER, OPEN]


def test_the_interval_of_the_mean_matches_the_enumerated_bootstrap():
    deltas = {"x": [1, 0, 1, -1, 1], "y": [1, 1, 0]}
    a = results("a", **{task: [d > 0 for d in delta] for task, delta in deltas.items()})
    b = results("b", **{task: [d < 0 for d in delta] for task, delta in deltas.items()})
    means = [
        [np.mean([delta[i] for i in drawn]) for drawn in itertools.product(range(n), repeat=n)]
        for delta in deltas.values()
        for n in [len(delta)]
    ]
    exact = np.sort((np.array(means[0])[:, None] + np.array(means[1])[None, :]).ravel() / 2)
    found = compare(a, b, protocol="p")[-1]
    assert found["low"] == pytest.approx(exact[int(0.025 * len(exact))], abs=0.04)
    assert found["high"] == pytest.approx(exact[int(0.975 * len(exact))], abs=0.04)
