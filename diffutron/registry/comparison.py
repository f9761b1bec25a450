"""Two versions on the same items: is the new one better on the whole, and nowhere much worse?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffutron.evaluation.statistics.intervals import (
    holm,
    mcnemar,
)

ALPHA = 0.05
DRAWS = 9999
Answers = Mapping[str, Mapping[int, bool]]
"""Task -> {row of the set: answered right}."""


@dataclass(frozen=True)
class TaskComparison:
    """One task: accuracies on the common items, and the test of "the version is worse"."""

    n: int
    acc: float
    champion_acc: float
    only_version: int
    only_champion: int
    p_worse: float
    p_holm: float

    @property
    def difference(self) -> float:
        return self.acc - self.champion_acc

    def holds(self, max_drop: float) -> bool:
        return self.p_holm >= ALPHA and -self.difference <= max_drop


@dataclass(frozen=True)
class Comparison:
    """All tasks; `low` is the lower end of the one-sided 95 % interval of the mean difference."""

    tasks: dict[str, TaskComparison]
    mean_difference: float
    low: float

    @property
    def n(self) -> int:
        return sum(task.n for task in self.tasks.values())


def compare(version: Answers, champion: Answers, *, seed: int = 0) -> Comparison:
    """Compare the answers to common items; raises ValueError where there are none.

    The mean is over tasks, each of equal weight, as the published average is. Items are drawn
    within their task by a percentile bootstrap; a task is tested by the exact one-sided McNemar
    test, corrected over the tasks by Holm's method.
    """
    common = {
        task: sorted(answers.keys() & champion[task].keys())
        for task, answers in version.items()
        if task in champion
    }
    common = {task: rows for task, rows in common.items() if rows}
    if not common:
        raise ValueError("the two have answered no common items")
    new = {task: np.array([version[task][row] for row in rows]) for task, rows in common.items()}
    old = {task: np.array([champion[task][row] for row in rows]) for task, rows in common.items()}
    worse = {
        task: mcnemar(
            int((old[task] & ~new[task]).sum()),
            int((new[task] & ~old[task]).sum()),
            alternative="greater",
        )
        for task in common
    }
    adjusted = dict(zip(worse, holm(list(worse.values())), strict=True))
    deltas = [new[task].astype(float) - old[task] for task in common]
    return Comparison(
        tasks={
            task: TaskComparison(
                n=len(rows),
                acc=float(new[task].mean()),
                champion_acc=float(old[task].mean()),
                only_version=int((new[task] & ~old[task]).sum()),
                only_champion=int((old[task] & ~new[task]).sum()),
                p_worse=worse[task],
                p_holm=adjusted[task],
            )
            for task, rows in common.items()
        },
        mean_difference=float(_mean_of_means(*deltas, axis=-1)),
        low=lower_end(deltas, seed=seed),
    )


def lower_end(deltas: list[np.ndarray], *, seed: int) -> float:
    """Lower end of the one-sided 95 % bootstrap interval of the mean of the tasks' means."""
    from scipy.stats import bootstrap

    # One item can only be drawn as itself, and SciPy asks for two.
    samples = [np.repeat(delta, 2) if len(delta) == 1 else delta for delta in deltas]
    found: Any = bootstrap(
        samples,
        _mean_of_means,
        n_resamples=DRAWS,
        batch=100,
        confidence_level=1 - ALPHA,
        alternative="greater",
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low)


def _mean_of_means(*deltas: np.ndarray, axis: int) -> Any:
    return sum(delta.mean(axis=axis) for delta in deltas) / len(deltas)
