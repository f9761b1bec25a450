"""Arms over seeds: the pooled test is right where it can be checked, and seldom cries wolf."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from diffutron.evaluation.statistics.arms import against_base, pooled

LOWER = {"bits": True}


def judged(values, *, lower=True):
    return against_base({"bits": values}, base="base", lower_is_better={"bits": lower})["bits"]


def drawn(generator, *, arms, seeds, effects=(), noise=1.0):
    """Values of arms with a common effect per seed, which is large beside the noise."""
    of_seed = 10 * generator.normal(size=seeds)
    names = ["base", *(f"arm{number}" for number in range(arms))]
    shift = dict(zip(names[1:], effects, strict=False))
    return {
        name: {
            seed: float(of_seed[seed] + shift.get(name, 0.0) + noise * generator.normal())
            for seed in range(seeds)
        }
        for name in names
    }


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(3, 12))
def test_one_arm_is_the_paired_t_test(seed, seeds):
    values = drawn(np.random.default_rng(seed), arms=1, seeds=seeds)
    found = judged(values)["arm0"]
    base, arm = ([*values[name].values()] for name in ("base", "arm0"))
    expected = stats.ttest_rel(arm, base)
    assert found["difference"] == pytest.approx(np.mean(arm) - np.mean(base))
    assert found["p"] == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert found["interval"] == pytest.approx([interval.low, interval.high])


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(2, 6))
def test_the_noise_is_that_of_the_analysis_of_variance(seed, arms, seeds):
    values = drawn(np.random.default_rng(seed), arms=arms, seeds=seeds)
    table = np.array([[*one.values()] for one in values.values()])
    residual = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    noise = pooled(values)
    assert noise.df == arms * (seeds - 1)
    assert noise.sd == pytest.approx(np.sqrt((residual**2).sum() / noise.df))


@pytest.mark.slow
def test_arms_that_are_equal_are_seldom_told_apart():
    """The share of sweeps with any verdict, over 3 000 simulated ones, is at most the 0.01 asked
    for (its standard error is 0.0018)."""
    generator = np.random.default_rng(5)
    wrong = 0
    for _ in range(3_000):
        found = judged(drawn(generator, arms=4, seeds=3))
        wrong += any(found[arm]["verdict"] != "cannot be told" for arm in found if arm != "base")
    assert wrong / 3_000 < 0.01 + 3 * 0.0018


def test_a_real_difference_is_told_and_named():
    generator = np.random.default_rng(6)
    values = drawn(generator, arms=4, seeds=3, effects=(-8.0, 8.0))
    for lower, names in ((True, ("better", "worse")), (False, ("worse", "better"))):
        found = judged(values, lower=lower)
        assert (found["arm0"]["verdict"], found["arm1"]["verdict"]) == names
        assert found["arm2"]["verdict"] == found["arm3"]["verdict"] == "cannot be told"


def test_an_arm_against_itself_cannot_be_told_and_hides_no_noise():
    generator = np.random.default_rng(7)
    values = drawn(generator, arms=3, seeds=4)
    copies = values | {f"same{n}": dict(values["base"]) for n in range(5)}
    found = judged(copies)
    assert all(found[f"same{n}"]["verdict"] == "cannot be told" for n in range(5))
    assert all(found[f"same{n}"]["difference"] == 0 for n in range(5))
    assert pooled(copies).sd == pytest.approx(pooled(values).sd)
    assert judged({"base": values["base"], "same": dict(values["base"])})["same"]["p"] is None


def test_one_seed_tells_nothing():
    found = judged({"base": {1: 2.0}, "arm": {1: 1.0}})
    assert found["arm"]["verdict"] == "cannot be told"
    assert (found["arm"]["p"], found["arm"]["interval"], found["arm"]["sd"]) == (None, None, None)
    assert found["arm"]["difference"] == -1.0


def test_a_seed_that_an_arm_lacks_is_left_out_of_it():
    generator = np.random.default_rng(8)
    values = drawn(generator, arms=3, seeds=4, effects=(50.0,))
    del values["arm0"][2]
    found = judged(values)
    assert found["arm0"]["n"] == 3
    assert found["arm0"]["difference"] == pytest.approx(50, abs=4)
    assert found["arm0"]["verdict"] == "worse"


def test_arms_without_a_common_seed_are_refused():
    with pytest.raises(ValueError, match="no common seeds"):
        pooled({"base": {1: 1.0, 2: 2.0}, "arm": {3: 1.0, 4: 2.5}})


def test_more_measures_make_the_verdict_stricter():
    generator = np.random.default_rng(9)
    values = drawn(generator, arms=1, seeds=4, effects=(-9.0,))
    measures = {f"m{number}": drawn(generator, arms=1, seeds=4) for number in range(20)}
    lower = dict.fromkeys([*measures, "bits"], True)
    alone = judged(values)["arm0"]
    among = against_base({"bits": values, **measures}, base="base", lower_is_better=lower)
    assert among["bits"]["arm0"]["p"] == alone["p"]
    assert among["bits"]["arm0"]["p_holm"] > alone["p_holm"]
