"""The numbers of a task from hand-made samples."""

import pytest

from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet
from diffutron.diffusion.likelihood.any_order import Score
from diffutron.evaluation.scoring.task_numbers import (
    answered_items,
    item_rows,
    summarize,
)
from diffutron.evaluation.statistics.intervals import (
    p_above,
    wilson,
)

SET = EvaluationSet(
    task="exams_tr", name="exams_tr", rows=[], origin="file", dropped={"label -1": 2}
)


def sample(row: int, gold: int, logprobs: list[float], choices: list[str] | None = None):
    choices = choices or ["elma", "armut", "üzüm", "kiraz"][: len(logprobs)]
    arguments = [(f"soru {row}", f" {choice}") for choice in choices]
    per_letter = [value / len(choice) for value, choice in zip(logprobs, choices, strict=True)]
    best, best_norm = logprobs.index(max(logprobs)), per_letter.index(max(per_letter))
    return {
        "doc": {"row": row},
        "target": gold,
        "arguments": arguments,
        "filtered_resps": [(value, False) for value in logprobs],
        "acc": float(best == gold),
        "acc_norm": float(best_norm == gold),
    }


def scored(samples, *, exact=True):
    scores = {}
    for one in samples:
        for argument, (value, _) in zip(one["arguments"], one["filtered_resps"], strict=True):
            scores[argument] = Score(value, 0.0 if exact else 0.1, 2, 3, exact)
    return scores


def test_numbers_worked_by_hand():
    samples = [
        sample(1, 0, [-1.0, -2.0, -3.0, -4.0]),
        sample(2, 1, [-1.0, -2.0, -3.0, -4.0]),
        sample(3, 0, [-1.0, -1.0, -3.0, -4.0]),
        sample(4, 2, [-5.0, -6.0]),
        sample(5, 0, [-9.0, -10.0, -3.9, -4.0]),
    ]
    items = answered_items(samples, scored(samples))
    found = summarize(items, SET)
    assert (found["n"], found["correct"], found["acc"]) == (5, 2, 0.4)
    assert (found["low"], found["high"]) == wilson(2, 5)
    assert found["chance"] == pytest.approx((4 * 0.25 + 0.5) / 5)
    assert found["constant"] == 0.6
    assert found["p_value"] == p_above(2, 5, 0.6)
    assert found["recall"] == {"0": 2 / 3, "1": 0.0, "2": 0.0}
    assert found["predicted"] == {"0": 4, "2": 1}
    assert found["ties"] == 1
    assert found["exact_items"] == 5
    assert found["dropped"] == {"label -1": 2}
    assert found["stand_in"] is None


def test_length_normalization_is_another_answer():
    """-6 over 12 letters beats -4 over 4: acc and acc_norm differ."""
    samples = [sample(1, 1, [-4.0, -6.0], ["kısa", "uzunca bir s"])]
    (item,) = answered_items(samples, scored(samples, exact=False))
    assert (item.predicted, item.predicted_norm) == (0, 1)
    assert (item.correct, item.correct_norm) == (False, True)
    found = summarize([item], SET)
    assert (found["acc"], found["acc_norm"]) == (0.0, 1.0)
    assert found["exact_items"] == 0


def test_items_are_plain_rows_for_the_audit():
    samples = [sample(7, 1, [-4.0, -6.0])]
    (row,) = item_rows(answered_items(samples, scored(samples)))
    assert row == {
        "row": 7,
        "gold": 1,
        "predicted": 0,
        "predicted_norm": 0,
        "correct": False,
        "correct_norm": False,
        "tied": False,
        "choices": ["elma", "armut"],
        "logprobs": [-4.0, -6.0],
        "stderr": [0.0, 0.0],
        "exact": True,
    }
