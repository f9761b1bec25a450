"""Intervals and exact tests: what has to stand beside every accuracy.

SciPy does the distributions. Counts are whole items, shares are fractions of 1, `confidence` and
`p_value` are probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

DRAWS = 10_000  # of a bootstrap


def wilson(correct: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927): (low, high)."""
    _check_counts(correct, n)
    interval = stats.binomtest(correct, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def p_above(correct: int, n: int, reference: float) -> float:
    """Exact one-sided binomial p-value of `correct` or more of `n` at the rate `reference`."""
    _check_counts(correct, n)
    return float(stats.binomtest(correct, n, reference, alternative="greater").pvalue)


def _check_counts(correct: int, n: int) -> None:
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"{correct} correct of {n}: need 0 <= correct <= n and n >= 1")


@dataclass(frozen=True)
class PairedDifference:
    """B minus A over the same units, with three tests of "no difference" (two-sided)."""

    n: int
    difference: float
    low: float
    high: float
    p_t: float
    p_wilcoxon: float
    p_bootstrap: float


def paired_difference(
    a: Sequence[float],
    b: Sequence[float],
    *,
    size: Sequence[float] | None = None,
    groups: Sequence[int | str] | None = None,
    draws: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> PairedDifference:
    """Compare paired measurements; the difference is sum(b - a) / sum(size).

    `size` (bytes of each document, say) turns totals into a rate and defaults to 1 a unit, which
    gives the mean. Units of one group (a passage with several questions) are drawn together in the
    bootstrap and summed for the t and signed-rank tests. Percentile bootstrap interval; its
    p-value is twice the smaller tail share, the observed sample counted (Davison, Hinkley 4.2).
    """
    delta = np.asarray(b, float) - np.asarray(a, float)
    weight = np.ones_like(delta) if size is None else np.asarray(size, float)
    if groups is not None:
        _, index = np.unique(np.asarray(groups), return_inverse=True)
        delta, weight = np.bincount(index, delta), np.bincount(index, weight)
    if len(delta) < 2:
        raise ValueError(f"a paired comparison needs 2 units or more, got {len(delta)}")
    drawn = _bootstrap_rates(delta, weight, draws=draws, seed=seed)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    rate = float(delta.sum() / weight.sum())
    # A constant difference has no spread to test against.
    by_t: Any = stats.ttest_1samp(delta, 0.0) if np.ptp(delta) else None
    signed: Any = stats.wilcoxon(delta / weight) if delta.any() else None
    return PairedDifference(
        n=len(delta),
        difference=rate,
        low=float(low),
        high=float(high),
        p_t=float(by_t.pvalue) if by_t is not None else float(delta[0] == 0),
        p_wilcoxon=1.0 if signed is None else float(signed.pvalue),
        p_bootstrap=min(1.0, 2 * (tail + 1) / (draws + 1)),
    )


def _bootstrap_rates(delta: np.ndarray, weight: np.ndarray, *, draws: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    rates = np.empty(draws)
    chunk = max(1, 4_000_000 // len(delta))  # 32 MB of indices at a time
    for start in range(0, draws, chunk):
        rows = min(chunk, draws - start)
        index = generator.integers(0, len(delta), size=(rows, len(delta)))
        rates[start : start + rows] = delta[index].sum(1) / weight[index].sum(1)
    return rates


def cluster_interval(
    values: Sequence[float], groups: Sequence[str], *, seed: int = 0, confidence: float = 0.95
) -> list[float] | None:
    """Percentile interval of a mean whose groups are drawn with replacement, whole: [low, high].

    None where there are fewer than two groups.
    """
    if len(set(groups)) < 2:
        return None
    drawn = grouped_means(np.asarray(values, float), groups, np.random.default_rng(seed))
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return [float(low), float(high)]


def grouped_means(
    values: np.ndarray, groups: Sequence[str], generator: np.random.Generator
) -> np.ndarray:
    """Means of `values` [n] over groups drawn with replacement, [DRAWS].

    Groups of equal sum and size are alike, so how many of each kind are drawn is multinomial: the
    same distribution as from drawing single groups, at the price of the kinds.
    """
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    each = np.stack([np.bincount(index, values), np.bincount(index).astype(float)])
    kinds, counts = np.unique(each, axis=1, return_counts=True)
    num_groups = int(counts.sum())
    drawn = generator.multinomial(num_groups, counts / num_groups, size=DRAWS)
    return (drawn @ kinds[0]) / (drawn @ kinds[1])


def one_sided(p_value: float, difference: float, *, less: bool) -> float:
    """The one-sided p-value of a symmetric two-sided test whose estimate is `difference`."""
    return p_value / 2 if (difference < 0) == less else 1 - p_value / 2


def permutation_interval(
    predicted: Sequence[int],
    gold: Sequence[int],
    *,
    confidence: float = 0.999,
    draws: int = 20_000,
    seed: int = 0,
) -> tuple[int, int]:
    """Hits (low, high) that these predictions have with labels dealt out at random.

    The mean is n x the sum over classes of predicted share x gold share: a model that always picks
    one class is judged by how often that class is right, not by chance. Both ends are included.
    """
    guesses, labels = np.asarray(predicted), np.asarray(gold)
    if len(guesses) != len(labels) or not len(guesses):
        raise ValueError(f"{len(guesses)} predictions of {len(labels)} labels: need as many, >= 1")
    generator = np.random.default_rng(seed)
    hits = np.empty(draws, np.int64)
    chunk = max(1, 4_000_000 // len(labels))
    for start in range(0, draws, chunk):
        rows = min(chunk, draws - start)
        dealt = generator.permuted(np.tile(labels, (rows, 1)), axis=1)
        hits[start : start + rows] = (dealt == guesses).sum(1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(hits, [tail, 1 - tail], method="closest_observation")
    return int(low), int(high)
