"""Two systems on the same items: is one better, worse, or can it not be told?

The leaderboard, `diffutron compare` and the promotion gate all ask here, so they cannot disagree.
For a task the exact McNemar test, Holm-adjusted over the tasks of the pair; for the mean over
tasks a paired bootstrap in which items of one passage are drawn together.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from diffutron.evaluation.statistics.intervals import DRAWS, cluster_interval, grouped_means

ALPHA, POWER = 0.05, 0.8
BETTER, WORSE, OPEN = "better", "worse", "cannot be told"
MEAN = "mean"
KEYS = (
    "a", "b", "task", "protocol", "n", "difference", "low", "high", "p_value", "p_holm",
    "verdict", "items_needed", "cluster_interval",
)  # fmt: skip


@dataclass(frozen=True)
class Results:
    """What one system got right. correct: by task, then by item. groups: of each item."""

    system: str
    correct: dict[str, dict[int, bool]]
    groups: dict[str, dict[int, str]]


def compare_all(results: Sequence[Results], *, protocol: str) -> list[dict[str, Any]]:
    """Every pair of systems on every task that both answered, and on the mean of these."""
    found = []
    for a, b in itertools.combinations(results, 2):
        found += compare(a, b, protocol=protocol)
    return found


def compare(
    a: Results, b: Results, *, protocol: str, alpha: float = ALPHA, seed: int = 0
) -> list[dict[str, Any]]:
    """One entry per task on which both answered a common item, then one for the mean of the tasks.

    The mean has an entry where there are two tasks or more; each task has equal weight in it.

    Returns:
        difference: accuracy of `a` minus that of `b`, with its 95 % interval [low, high].
        cluster_interval: the same with the groups drawn whole; None where each item is alone.
        verdict: on `a`, from `p_holm` at `alpha`. items_needed: items that show a difference of
        this size with power 0.8 at alpha 0.05; None where there is no difference. Empty where the
        two have no common item.
    """
    tasks = [task for task in a.correct if task in b.correct and shared_items(a, b, task)]
    entries = [_task(a, b, task) for task in tasks]
    for entry, p_holm in zip(entries, holm([e["p_value"] for e in entries]), strict=True):
        entry["p_holm"] = p_holm
    if len(tasks) > 1:
        entries.append(_mean(a, b, tasks, seed))
    for entry in entries:
        entry |= {"a": a.system, "b": b.system, "protocol": protocol}
        entry["verdict"] = verdict(entry["difference"], entry["p_holm"], alpha=alpha)
    return [{key: entry[key] for key in KEYS} for entry in entries]


def verdict(difference: float, p_value: float, *, alpha: float = ALPHA) -> str:
    """On the first of two systems."""
    if p_value >= alpha or difference == 0:
        return OPEN
    return BETTER if difference > 0 else WORSE


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided McNemar p-value from the items that only A, only B answered right."""
    discordant = only_a + only_b
    return float(stats.binomtest(only_a, discordant, 0.5).pvalue) if discordant else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def items_to_compare(only_a: float, only_b: float) -> int:
    """Items that McNemar's test needs for POWER at ALPHA, from the shares only A, only B get right.

    Connor (1987), Biometrics 43: n = (z_a/2 sqrt(p) + z_b sqrt(p - d^2))^2 / d^2, where p is the
    discordant share and d the difference.
    """
    discordant, difference = only_a + only_b, only_a - only_b
    if difference == 0:
        raise ValueError("two equal rates cannot be told apart by any number of items")
    z_alpha, z_power = stats.norm.ppf(1 - ALPHA / 2), stats.norm.ppf(POWER)
    spread = z_alpha * math.sqrt(discordant) + z_power * math.sqrt(discordant - difference**2)
    return math.ceil((spread / difference) ** 2)


def shared_items(a: Results, b: Results, task: str) -> list[int]:
    return sorted(a.correct[task].keys() & b.correct[task].keys())


def _task(a: Results, b: Results, task: str) -> dict[str, Any]:
    rows = shared_items(a, b, task)
    n = len(rows)
    only_a = sum(a.correct[task][row] and not b.correct[task][row] for row in rows)
    only_b = sum(b.correct[task][row] and not a.correct[task][row] for row in rows)
    difference = (only_a - only_b) / n
    half = stats.norm.ppf(1 - ALPHA / 2) * math.sqrt((only_a + only_b) / n - difference**2)
    half /= math.sqrt(n)
    needed = None if only_a == only_b else items_to_compare(only_a / n, only_b / n)
    groups, delta = [a.groups[task][row] for row in rows], []
    if len(set(groups)) < n:
        delta = [float(a.correct[task][row]) - float(b.correct[task][row]) for row in rows]
    return {
        "task": task,
        "n": n,
        "difference": difference,
        "low": difference - half,
        "high": difference + half,
        "p_value": mcnemar(only_a, only_b),
        "items_needed": needed,
        "cluster_interval": cluster_interval(delta, groups) if delta else None,
    }


def _mean(a: Results, b: Results, tasks: Sequence[str], seed: int) -> dict[str, Any]:
    """The mean over tasks of the differences; each task is drawn anew from its own groups."""
    generator = np.random.default_rng(seed)
    drawn = np.zeros(DRAWS)
    total, n = 0.0, 0
    for task in tasks:
        rows = shared_items(a, b, task)
        delta = np.array([float(a.correct[task][r]) - float(b.correct[task][r]) for r in rows])
        groups = [a.groups[task][row] for row in rows]
        drawn += grouped_means(delta, groups, generator)
        total += delta.mean()
        n += len(rows)
    difference = round(float(total / len(tasks)), 12)  # sums that cancel leave a residue
    drawn /= len(tasks)
    low, high = np.quantile(drawn, [ALPHA / 2, 1 - ALPHA / 2])
    reach = stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(POWER)
    needed = None  # over all tasks, in the present proportions, by the normal approximation
    if difference:
        needed = max(1, math.ceil(n * (reach * float(drawn.std()) / difference) ** 2))
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p_value = min(1.0, 2 * (tail + 1) / (DRAWS + 1))
    return {
        "task": MEAN,
        "n": n,
        "difference": difference,
        "low": float(low),
        "high": float(high),
        "p_value": p_value,
        "p_holm": p_value,  # one test: there is nothing to adjust for
        "items_needed": needed,
        "cluster_interval": None,  # its own interval is of groups
    }
