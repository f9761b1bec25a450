"""Each sanity check against a scorer with the fault that it is there to find, and an honest one."""

import hashlib
from types import SimpleNamespace

import pytest
import torch

from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet
from diffutron.diffusion.likelihood.any_order import Score
from diffutron.evaluation.cetvel.asked import EvalTask
from diffutron.evaluation.cetvel.protocols import PROTOCOLS
from diffutron.evaluation.cetvel.questions import Question
from diffutron.evaluation.scorers.scorer import Scorer
from diffutron.evaluation.scoring import sanity_checks
from diffutron.evaluation.scoring.answering import answer_batches
from diffutron.modeling.encoding import EncodedPair

SET = EvaluationSet(task="ironytr", name="ironytr", rows=[], origin="test")
CHOICES = ("evet", "hayır")


def honest(context: str, choice: str, place: int, batch: int) -> float:
    """A value that depends on the words alone."""
    return -hashlib.sha256(f"{context}|{choice}".encode()).digest()[0] / 8


class Fake:
    """A scorer whose values are a function of context, choice, place in the batch and its size."""

    max_length, max_rows, tokenizer = 10**6, 1, None
    model = SimpleNamespace(parameters=lambda: iter([torch.zeros(1)]))

    def __init__(self, value):
        self.value, self.batch_tokens = value, 1000

    def encode(self, pairs, protocol):
        return [EncodedPair(tuple(map(ord, a)), tuple(map(ord, b)), False) for a, b in pairs]

    encode_questions = Scorer.encode_questions

    def cost(self, pair):
        return 1

    def score(self, pairs):
        texts = [["".join(map(chr, ids)) for ids in (p.context, p.continuation)] for p in pairs]
        size = len(pairs)
        return [
            Score(self.value(*text, place, size), 0.0, 1, 1, True)
            for place, text in enumerate(texts)
        ]


def task(golds, *, context="Soru {n}: ", hint=False):
    questions = [
        Question(
            "ironytr", n, context.format(n=n) + CHOICES[gold] * hint, CHOICES, "", gold, "", {}
        )
        for n, gold in enumerate(golds)
    ]
    return EvalTask(SET, PROTOCOLS["corrected"], 0, questions, None)


def check(name, value, asked):
    scorer = Fake(value)
    parts = answer_batches(scorer, asked.questions, asked.protocol)
    answers = {one.key: answer for part in parts for one, answer in part}
    return getattr(sanity_checks, name)(scorer, asked, answers)


BALANCED = task([n % 2 for n in range(60)])


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("shuffled", lambda context, choice, place, batch: -float(place % 2)),
        ("batch", lambda context, choice, place, batch: honest(context, choice, 0, 0) - batch),
        ("context", lambda context, choice, place, batch: honest("", choice, 0, 0)),
    ],
)
def test_a_scorer_with_the_fault_fails_and_an_honest_one_passes(name, fault):
    assert check(name, honest, BALANCED).passed is True
    assert check(name, fault, BALANCED).passed is False


def test_an_answer_that_leaks_into_the_question_is_found_by_random_weights():
    leaking = task([n % 2 for n in range(60)], hint=True)
    found = sanity_checks.random_weights(
        Fake(lambda context, choice, *_: float(context.endswith(choice))), leaking
    )
    assert found.passed is False
    assert "60 of 60 right" in found.detail
    assert sanity_checks.random_weights(Fake(honest), BALANCED).passed is True


@pytest.mark.parametrize("wrong", [0, 1])
def test_random_weights_that_answer_one_thing_cannot_fail_and_say_so(wrong):
    """With one class, or nearly, no leak could lift the hits above what labels at random give."""
    golds = [n % 2 for n in range(60)]
    one_class = Fake(lambda context, choice, *_: float(choice == CHOICES["Soru 7:" in context]))
    found = sanity_checks.random_weights(one_class, task(golds[: 60 - wrong]))
    assert found.passed is None
    assert "cannot fail" in found.detail


def test_questions_of_one_context_cannot_tell():
    found = check("context", honest, task([0, 1] * 4, context="Soru: "))
    assert found.passed is None
    assert "nothing could change" in found.detail


def test_an_answer_sheet_outside_the_choices_fails_and_none_at_all_tells_nothing():
    assert sanity_checks.oracle(BALANCED.questions).passed is True
    outside = [SimpleNamespace(gold=2, choices=CHOICES)]
    assert sanity_checks.oracle(outside).passed is False  # type: ignore[arg-type]
    without = [SimpleNamespace(gold=-1, choices=CHOICES)]
    assert sanity_checks.oracle(without).passed is None  # type: ignore[arg-type]
