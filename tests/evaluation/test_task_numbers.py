"""The numbers of a task from hand-made answers."""

import json
from dataclasses import replace

import pytest

from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet
from diffutron.evaluation.cetvel.questions import Question
from diffutron.evaluation.scorers.answer import Answer
from diffutron.evaluation.scoring.task_numbers import answered, json_lines, summarize
from diffutron.evaluation.statistics.intervals import p_above, wilson

SET = EvaluationSet(
    task="exams_tr", name="exams_tr", rows=[], origin="file", dropped={"label -1": 2}
)


def item(row: int, gold: int, logprobs: list[float], choices=None, *, exact=True, by_length=True):
    choices = choices or ["elma", "armut", "üzüm", "kiraz"][: len(logprobs)]
    question = Question("t", row, f"soru {row}", tuple(choices), " ", gold, f"row {row}", {})
    stderr = [0.0 if exact else 0.1] * len(logprobs)
    return answered(question, Answer(logprobs, stderr, [2] * len(logprobs), exact, by_length))


def test_numbers_worked_by_hand():
    items = [
        item(1, 0, [-1.0, -2.0, -3.0, -4.0]),
        item(2, 1, [-1.0, -2.0, -3.0, -4.0]),
        item(3, 0, [-1.0, -1.0, -3.0, -4.0]),
        item(4, 2, [-5.0, -6.0]),
        item(5, 0, [-9.0, -10.0, -3.9, -4.0]),
    ]
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
    one = item(1, 1, [-4.0, -6.0], ["kısa", "uzunca bir s"], exact=False)
    assert (one.predicted, one.predicted_norm) == (0, 1)
    assert (one.correct, one.correct_norm) == (False, True)
    found = summarize([one], SET)
    assert (found["acc"], found["acc_norm"]) == (0.0, 1.0)
    assert found["exact_items"] == 0
    plain = item(1, 1, [-4.0, -6.0], ["kısa", "uzunca bir s"], by_length=False)
    assert plain.predicted_norm == plain.predicted == 0, "a baseline has no value per character"


def test_items_are_plain_rows_for_the_audit():
    one = item(7, 1, [-4.0, -6.0])
    (line,) = json_lines([one.values]).splitlines()
    assert json.loads(line) == {
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
        "group": "row 7",
    }
    assert replace(one, part="ekler").values == one.values | {"part": "ekler"}
