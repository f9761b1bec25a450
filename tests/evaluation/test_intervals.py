"""Each statistic against enumeration or a value worked out by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffutron.evaluation.statistics.intervals import one_sided, p_above, paired_difference, wilson


def test_wilson_matches_the_formula():
    k, n, z = 81, 250, 1.959963984540054
    p = k / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert wilson(k, n) == pytest.approx((centre - half, centre + half), abs=1e-12)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_stays_inside_and_holds_the_estimate(counts):
    low, high = wilson(*counts)
    assert 0 <= low <= counts[0] / counts[1] + 1e-12
    assert counts[0] / counts[1] - 1e-12 <= high <= 1


@pytest.mark.parametrize("reference", [0.2, 1 / 3, 0.5])
def test_p_above_matches_enumeration(reference):
    n, correct = 8, 5
    exact = 0.0
    for outcome in itertools.product((0, 1), repeat=n):
        if sum(outcome) >= correct:
            exact += math.prod(reference if hit else 1 - reference for hit in outcome)
    assert p_above(correct, n, reference) == pytest.approx(exact, rel=1e-12)


def test_p_above_on_published_scores():
    """Second stage, of FACTS' table: News_Cat is far above chance, Belebele is not."""
    assert p_above(81, 250, 0.2) < 1e-4
    assert p_above(243, 900, 0.25) == pytest.approx(0.09, abs=0.005)


@pytest.mark.parametrize("counts", [(-1, 4), (5, 4), (0, 0)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="correct of"):
        wilson(*counts)


def test_paired_difference_is_a_rate_and_finds_a_real_one():
    generator = np.random.default_rng(0)
    size = generator.integers(50, 500, 80)
    a = size * 2.0 + generator.normal(0, 20, 80)
    b = a - 0.05 * size + generator.normal(0, 5, 80)
    found = paired_difference(a.tolist(), b.tolist(), size=size.tolist())
    assert found.difference == pytest.approx((b.sum() - a.sum()) / size.sum())
    assert found.low < found.difference < found.high < 0
    assert found.p_t < 1e-6
    assert found.p_wilcoxon < 1e-6
    assert found.p_bootstrap < 1e-3
    again = paired_difference(b.tolist(), a.tolist(), size=size.tolist())
    assert again.difference == pytest.approx(-found.difference)
    assert again.p_t == pytest.approx(found.p_t)


def test_paired_bootstrap_matches_enumeration_of_all_resamples():
    delta = np.array([-2.0, 1.0, 4.0])
    means = [np.mean(draw) for draw in itertools.product(delta, repeat=3)]
    found = paired_difference([0, 0, 0], delta.tolist(), draws=200_000, confidence=0.8)
    assert found.low == pytest.approx(np.quantile(means, 0.1), abs=1e-9)
    assert found.high == pytest.approx(np.quantile(means, 0.9), abs=1e-9)
    tail = min(np.mean(np.array(means) <= 0), np.mean(np.array(means) >= 0))
    assert found.p_bootstrap == pytest.approx(2 * tail, abs=0.01)


def test_paired_t_and_signed_rank_match_their_definitions():
    a, b = [1.0, 2.0, 3.0, 4.0, 5.0], [1.5, 2.1, 3.9, 3.7, 6.0]
    delta = np.subtract(b, a)
    t = delta.mean() / (delta.std(ddof=1) / math.sqrt(5))
    found = paired_difference(a, b)
    # |t| = 1.9105 at 4 degrees of freedom; the CDF has a closed form there
    x = t / math.sqrt(t**2 + 4)
    assert found.p_t == pytest.approx(1 - 1.5 * x + 0.5 * x**3, rel=1e-9)
    ranks = np.argsort(np.argsort(np.abs(delta))) + 1
    observed = ranks[delta < 0].sum()
    sums = [
        ranks[np.array(signs) < 0].sum() for signs in itertools.product((-1, 1), repeat=len(delta))
    ]
    assert found.p_wilcoxon == pytest.approx(2 * np.mean(np.array(sums) <= observed), rel=1e-9)


def test_groups_are_drawn_together():
    """Twenty copies of one passage carry no more information than the passage itself."""
    delta = [1.0, -1.0, 1.0, 1.0, -1.0, 1.0]
    single = paired_difference([0.0] * 6, delta)
    copies = [value for value in delta for _ in range(20)]
    groups = [index for index in range(6) for _ in range(20)]
    grouped = paired_difference([0.0] * 120, copies, groups=groups)
    assert grouped.n == 6
    assert (grouped.low, grouped.high) == pytest.approx((single.low, single.high))
    assert grouped.p_t == pytest.approx(single.p_t)


def test_no_difference_and_a_constant_one():
    nothing = paired_difference([1.0, 2.0], [1.0, 2.0])
    assert (nothing.difference, nothing.p_t, nothing.p_wilcoxon, nothing.p_bootstrap) == (
        0,
        1,
        1,
        1,
    )
    assert paired_difference([1.0, 2.0], [2.0, 3.0]).p_t == 0.0
    with pytest.raises(ValueError, match="2 units"):
        paired_difference([1.0], [2.0])


def test_one_sided_halves_the_side_of_the_estimate():
    assert one_sided(0.04, -1.0, less=True) == 0.02
    assert one_sided(0.04, 1.0, less=True) == 0.98
    assert one_sided(0.04, 1.0, less=False) == 0.02
