"""From lm-eval samples to the numbers of a task and what guards them: chance, intervals, ties."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet
from diffutron.evaluation.cetvel.questions import Question
from diffutron.evaluation.scorers.answer import Answer
from diffutron.evaluation.statistics.intervals import (
    p_above,
    wilson,
)

if TYPE_CHECKING:
    from diffutron.diffusion.likelihood.any_order import Score

TIE = 1e-9  # nats


@dataclass(frozen=True)
class AnsweredItem:
    """One question as it was answered: enough to check each number later."""

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


def answered_items(
    samples: Sequence[Mapping[str, Any]], scores: Mapping[tuple[str, str], "Score"]
) -> list[AnsweredItem]:
    """The items of a task from lm-eval's samples; right and wrong are lm-eval's verdicts."""
    return [_answered(sample, scores) for sample in samples]


def _answered(sample: Mapping[str, Any], scores: Mapping[tuple[str, str], "Score"]) -> AnsweredItem:
    found = [scores[(context, choice)] for context, choice in sample["arguments"]]
    choices = [choice.removeprefix(" ") for _, choice in sample["arguments"]]
    logprobs = [response[0] for response in sample["filtered_resps"]]
    best = max(logprobs)
    return AnsweredItem(
        row=sample["doc"]["row"],
        gold=int(sample["target"]),
        predicted=logprobs.index(best),
        predicted_norm=best_per_letter(logprobs, choices),
        correct=bool(sample["acc"]),
        correct_norm=bool(sample["acc_norm"]),
        tied=is_tied(logprobs),
        choices=choices,
        logprobs=logprobs,
        stderr=[score.stderr for score in found],
        exact=all(score.exact for score in found),
    )


def answered(question: Question, answer: Answer) -> AnsweredItem:
    """The question as it was answered: first of the highest, by value and by value a character."""
    values, choices = answer.logprobs, list(question.choices)
    best = values.index(max(values))
    best_norm = best_per_letter(values, choices) if answer.by_length else best
    return AnsweredItem(
        row=question.row,
        gold=question.gold,
        predicted=best,
        predicted_norm=best_norm,
        correct=best == question.gold,
        correct_norm=best_norm == question.gold,
        tied=is_tied(values),
        choices=choices,
        logprobs=values,
        stderr=answer.stderr,
        exact=answer.exact,
    )


def best_per_letter(logprobs: Sequence[float], choices: Sequence[str]) -> int:
    """The choice of the highest value a character, as lm-eval's `acc_norm` has it."""
    rates = [value / max(1, len(text)) for value, text in zip(logprobs, choices, strict=True)]
    return rates.index(max(rates))


def is_tied(logprobs: Sequence[float]) -> bool:
    """Whether the best value is not alone: the first of equals is then the answer."""
    best = max(logprobs)
    return sum(value > best - TIE for value in logprobs) > 1


def summarize(items: Sequence[AnsweredItem], one: EvaluationSet) -> dict[str, Any]:
    """The numbers of one task and model; fractions of 1, classes by the index of the choice.

    chance: mean of 1 / number of choices. constant: the best share that one index alone gets.
    p_value: exact one-sided binomial of `acc` against the larger of the two. low, high: 95 %
    Wilson interval of `acc`.
    """
    n, correct = len(items), sum(item.correct for item in items)
    gold = Counter(item.gold for item in items if item.gold >= 0)
    chance = sum(1 / len(item.choices) for item in items) / n
    constant = max(gold.values()) / n
    low, high = wilson(correct, n)
    hits = Counter(item.gold for item in items if item.correct)
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
        "stand_in": one.stand_in,
        "origin": one.origin,
        "dropped": one.dropped,
        "recall": {str(label): hits[label] / gold[label] for label in sorted(gold)},
        "predicted": _histogram(item.predicted for item in items),
        "ties": sum(item.tied for item in items),
        "exact_items": sum(item.exact for item in items),
    }


def _histogram(labels: Any) -> dict[str, int]:
    counts = Counter(labels)
    return {str(label): counts[label] for label in sorted(counts)}


def item_rows(items: Sequence[AnsweredItem]) -> list[dict[str, Any]]:
    """The items as plain rows, for the audit file."""
    return [dict(vars(item)) for item in items]
