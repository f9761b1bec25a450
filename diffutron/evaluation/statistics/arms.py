"""Arms of an experiment over the same seeds: is one better than the base, or can it not be told?

The unit is the seed. Within a seed all arms share their documents, so a seed is a block: the value
of an arm in a seed is modeled as effect of the arm + effect of the seed + noise. The noise is
pooled over all arms (a two-way layout without interaction), which gives degrees of freedom that
three seeds of one arm alone would not have. Differences from the base are t-tested, Holm-corrected.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from diffutron.evaluation.statistics.pair_tests import holm, verdict

ALPHA = 0.01
CONFIDENCE = 0.95
Values = Mapping[str, Mapping[int, float]]
"""Arm -> seed -> value."""


@dataclass(frozen=True)
class Pooled:
    """The noise of one measure: its standard deviation, the degrees of freedom behind it, and the
    covariance of the effects of the arms in units of its variance.

    place: of each arm among the A effects; arms that are the same share one.
    """

    sd: float | None
    df: int
    place: dict[str, int]
    effects: np.ndarray  # [A]
    covariance: np.ndarray  # [A, A]


def pooled(values: Values) -> Pooled:
    """Least squares of arm and seed effects; seeds that an arm lacks are allowed.

    An arm that changes nothing has the very values of another one. It counts once, as its zero
    differences would make the noise look smaller than it is.

    Raises:
        ValueError: the arms do not hang together by common seeds.
    """
    alike: dict[str, str] = {}  # arm -> the first arm with the same values
    for arm in values:
        alike[arm] = next(other for other in values if values[other] == values[arm])
    arms = [arm for arm in values if values[arm] and alike[arm] == arm]
    seeds = sorted({seed for arm in arms for seed in values[arm]})
    cells = [(arm, seed) for arm in arms for seed in values[arm]]
    design = np.zeros((len(cells), len(arms) + len(seeds) - 1))
    for row, (arm, seed) in enumerate(cells):
        design[row, arms.index(arm)] = 1.0
        if seed != seeds[0]:
            design[row, len(arms) + seeds.index(seed) - 1] = 1.0
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError("the arms have no common seeds; run each arm with the same ones")
    observed = np.array([values[arm][seed] for arm, seed in cells])
    found, *_ = np.linalg.lstsq(design, observed, rcond=None)
    df = len(cells) - design.shape[1]
    residual = float(((observed - design @ found) ** 2).sum())
    inverse = np.linalg.inv(design.T @ design)
    sd = math.sqrt(residual / df) if df else None
    place = {arm: arms.index(alike[arm]) for arm in values if values[arm]}
    return Pooled(sd, df, place, found[: len(arms)], inverse[: len(arms), : len(arms)])


def against_base(
    measures: Mapping[str, Values], *, base: str, lower_is_better: Mapping[str, bool]
) -> dict[str, dict[str, dict[str, Any]]]:
    """For each measure and arm: mean, sd, n, difference from the base with interval and verdict.

    Args:
        measures: values by measure.
        base: the arm that the others are compared with.
        lower_is_better: by measure.

    Returns:
        measure -> arm -> `mean, sd, n, difference, interval, p, p_holm, verdict`. `sd` is of the
        arm's own values. The interval (95 %) is not corrected, the verdict is: Holm over all arms
        and measures, at 0.01. A verdict needs a degree of freedom, so two seeds at least.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    tests: list[dict[str, Any]] = []
    for name, values in measures.items():
        noise = pooled(values)
        found[name] = {arm: _summary(list(values[arm].values())) for arm in noise.place}
        for arm in noise.place:
            if arm != base and base in noise.place:
                entry = found[name][arm]
                entry |= _difference(noise, arm, base)
                sign = -1.0 if lower_is_better[name] else 1.0
                tests.append({"entry": entry, "gain": sign * entry["difference"]})
    tested = [test for test in tests if test["entry"]["p"] is not None]
    for test, p_holm in zip(tested, holm([t["entry"]["p"] for t in tested]), strict=True):
        test["entry"] |= {"p_holm": p_holm, "verdict": verdict(test["gain"], p_holm, alpha=ALPHA)}
    return found


def _summary(values: Sequence[float]) -> dict[str, Any]:
    return {
        "mean": math.fsum(values) / len(values),
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "n": len(values),
        "difference": None,
        "interval": None,
        "p": None,
        "p_holm": None,
        "verdict": None,
    }


def _difference(noise: Pooled, arm: str, base: str) -> dict[str, Any]:
    """Arm minus base, its 95 % interval and two-sided p-value by Student's t."""
    contrast = np.zeros(len(noise.effects))
    contrast[noise.place[arm]] += 1.0
    contrast[noise.place[base]] -= 1.0
    difference = float(contrast @ noise.effects)
    entry = {"difference": difference, "interval": None, "p": None, "verdict": "cannot be told"}
    if noise.sd is None:
        return entry
    error = noise.sd * math.sqrt(float(contrast @ noise.covariance @ contrast))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, noise.df)) * error
    p = 1.0 if difference == 0 else 0.0  # without any noise
    if error > 0:
        p = float(2 * stats.t.sf(abs(difference) / error, noise.df))
    return entry | {"interval": [difference - half, difference + half], "p": p}
