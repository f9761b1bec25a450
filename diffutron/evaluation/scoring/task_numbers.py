"""From answers to the numbers of a task and what guards them: chance, intervals, ties."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet
from diffutron.evaluation.cetvel.questions import Question
from diffutron.evaluation.scorers.answer import Answer
from diffutron.evaluation.statistics.intervals import cluster_interval, p_above, wilson

TIE = 1e-9  # nats


@dataclass(frozen=True)
class AnsweredItem:
    """One question as it was answered: enough to check each number later.

    group: items of one passage have the same. part: of a task that has parts besides its groups.
    """

    row: int
    gold: int
    predicted: int
    predicted_norm: int
    correct: bool
    correct_norm: bool
    tied: bool
    choices: list[str]
    logprobs: list[float]
    stderr: list[float]
    exact: bool
    group: str
    part: str | None = None

    @property
    def values(self) -> dict[str, Any]:
        """Its fields for a file; `part` where the task has parts."""
        return {key: value for key, value in vars(self).items() if (key, value) != ("part", None)}


def answered(question: Question, answer: Answer) -> AnsweredItem:
    """The question as it was answered: the first of the highest, by value and by value per
    character, as lm-eval's `acc` and `acc_norm` have it."""
    values, choices = answer.logprobs, list(question.choices)
    return AnsweredItem(
        row=question.row,
        gold=question.gold,
        choices=choices,
        logprobs=values,
        stderr=answer.stderr,
        exact=answer.exact,
        group=question.group,
        part=question.part,
        **_judged(values, choices, question.gold, answer.by_length, question.normalization),
    )


def judged_again(item: AnsweredItem, *, by_length: bool, normalization: str) -> dict[str, Any]:
    """What follows from the values of an item, by its keys."""
    return _judged(item.logprobs, item.choices, item.gold, by_length, normalization)


def _judged(
    values: Sequence[float], choices: Sequence[str], gold: int, by_length: bool, normalization: str
) -> dict[str, Any]:
    compared = list(values)
    if by_length and normalization != "none":
        sizes = [len(c.encode() if normalization == "bytes" else c) for c in choices]
        compared = [value / size for value, size in zip(values, sizes, strict=True)]
    highest = max(compared)
    best = best_norm = compared.index(highest)
    if by_length:
        rates = [value / max(1, len(text)) for value, text in zip(values, choices, strict=True)]
        best_norm = rates.index(max(rates))
    return {
        "predicted": best,
        "predicted_norm": best_norm,
        "correct": best == gold,
        "correct_norm": best_norm == gold,
        "tied": sum(value > highest - TIE for value in compared) > 1,
    }


def summarize(items: Sequence[AnsweredItem], dataset: EvaluationSet) -> dict[str, Any]:
    """The numbers of one task and model; fractions of 1, classes by the index of the choice.

    chance: mean of 1 / number of choices. constant: the best share that one index alone gets.
    p_value: exact one-sided binomial of `acc` against the larger of the two. low, high: 95 %
    Wilson interval of `acc`. parts: the numbers of each part, or cluster, if the set has any.
    """
    has_parts = dataset.clustered or any(item.part is not None for item in items)
    return {
        **numbers(items),
        "stand_in": dataset.stand_in,
        "origin": dataset.origin,
        "dropped": dataset.dropped,
        "parts": parts_of(items) if has_parts else None,
    }


def numbers(items: Sequence[AnsweredItem]) -> dict[str, Any]:
    """Those of `summarize` that follow from the items alone."""
    n, correct = len(items), sum(item.correct for item in items)
    gold = Counter(item.gold for item in items if item.gold >= 0)
    chance = sum(1 / len(item.choices) for item in items) / n
    constant = max(gold.values()) / n
    low, high = wilson(correct, n)
    hits = Counter(item.gold for item in items if item.correct)
    predicted = Counter(item.predicted for item in items)
    return {
        "n": n,
        "correct": correct,
        "acc": correct / n,
        "acc_norm": sum(item.correct_norm for item in items) / n,
        "low": low,
        "high": high,
        "chance": chance,
        "constant": constant,
        "p_value": p_above(correct, n, max(chance, constant)),
        "recall": {str(label): hits[label] / gold[label] for label in sorted(gold)},
        "predicted": {str(label): predicted[label] for label in sorted(predicted)},
        "ties": sum(item.tied for item in items),
        "exact_items": sum(item.exact for item in items),
    }


def clustered(items: Sequence[AnsweredItem]) -> dict[str, Any] | None:
    """The 95 % interval of `acc` whose clusters are drawn together; None for a single cluster."""
    groups = [item.group for item in items]
    found = cluster_interval([item.correct for item in items], groups)
    if found is None:
        return None
    return {"clusters": len(set(groups)), "low": found[0], "high": found[1]}


def parts_of(items: Sequence[AnsweredItem]) -> dict[str, dict[str, Any]]:
    """The numbers of each part, or of each cluster where a task has no other parts, so that the
    mean hides none."""
    found: dict[str, list[AnsweredItem]] = {}
    for item in items:
        found.setdefault(item.group if item.part is None else item.part, []).append(item)
    parts = {}
    for name, mine in sorted(found.items()):
        correct = sum(item.correct for item in mine)
        low, high = wilson(correct, len(mine))
        parts[name] = {
            "n": len(mine),
            "correct": correct,
            "acc": correct / len(mine),
            "low": low,
            "high": high,
            "chance": sum(1 / len(item.choices) for item in mine) / len(mine),
        }
    return parts


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as the text of an audit file."""
    return "".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows)
