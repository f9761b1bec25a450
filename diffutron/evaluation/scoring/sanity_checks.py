"""What must hold before a number is believed.

`oracle`: an answer sheet of the protocol's own gold gets everything right. `target`: the tokens
that were scored spell the choice. `batch`: a batch of one gives the values of a batch of many.
`shuffled`: the order of the choices changes no value. `context`: the question changes the values.
`random_weights`: the same shape with random weights does as well as labels dealt out at random
would make its predictions do, not better.

A check that cannot fail on a task says nothing: it is null, and its detail says why.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from diffutron.evaluation.cetvel.asked import EvalTask
from diffutron.evaluation.cetvel.prompts import belebele_text
from diffutron.evaluation.cetvel.questions import Question
from diffutron.evaluation.scorers.answer import Answer
from diffutron.evaluation.scoring.answering import answer_batches
from diffutron.evaluation.scoring.task_numbers import answered
from diffutron.evaluation.statistics.intervals import permutation_interval
from diffutron.modeling.tokenizer import decode_answer

if TYPE_CHECKING:
    from diffutron.evaluation.scorers.scorer import Scorer

NAMES = ("oracle", "target", "batch", "shuffled", "context", "random_weights")
SAMPLE = 8  # questions asked again
SINGLE = 4  # questions asked again one row at a time, which is slow
RANDOM_ITEMS = 100  # questions asked of random weights
RANDOM_ROWS = 3  # model rows that a choice may cost there: a rough estimate does
TOLERANCE = 1e-4  # nats, float32
HALF_TOLERANCE = 0.02  # of a value, in half precision
Answers = dict[str, Answer]


@dataclass(frozen=True)
class SanityCheck:
    """passed: None where the check cannot fail, does not apply or is only reported."""

    passed: bool | None
    detail: str


def oracle(questions: Sequence[Question]) -> SanityCheck:
    """Questions without a right answer (label -1) are left out, and counted."""
    asked = [one for one in questions if one.gold >= 0]
    if not asked:
        return SanityCheck(None, "no question has an answer")
    right = sum(
        one.gold < len(one.choices)
        and answered(one, Answer.of_choice(one.gold, len(one.choices))).correct
        for one in asked
    )
    left_out = len(questions) - len(asked)
    detail = f"{right} of {len(asked)} right" + (f", {left_out} have no answer" * bool(left_out))
    return SanityCheck(right == len(asked), detail)


def target(scorer: "Scorer", task: EvalTask, answers: Answers) -> SanityCheck:
    """The scored tokens, decoded, against the choice after the tokenizer's own normalization;
    white space is ignored, since tokenizers differ in where they keep it."""
    questions, tokenizer = task.questions, scorer.tokenizer
    pairs = [pair for each in scorer.encode_questions(questions, task.protocol) for pair in each]
    choices = [choice for one in questions for choice in one.choices]
    counts = [count for one in questions for count in answers[one.key].tokens]
    wrong = []
    for choice, ids in sorted({(c, p.continuation) for c, p in zip(choices, pairs, strict=True)}):
        scored = decode_answer(tokenizer, ids) if task.protocol.chat else tokenizer.decode(ids)
        wanted = tokenizer.decode(tokenizer(choice, add_special_tokens=False)["input_ids"])
        if "".join(scored.split()) != "".join(wanted.split()):
            wrong.append((choice, scored))
    lost = sum(count != len(pair.continuation) for count, pair in zip(counts, pairs, strict=True))
    unknown = sum(tokenizer.unk_token_id in pair.continuation for pair in pairs)
    long = sum(len(pair) > scorer.max_length for pair in pairs)
    detail = f"{len(pairs)} choices, {unknown} with unknown tokens, {long} prompts cut to fit"
    if wrong:
        detail += f"; {wrong[0][0]!r} was scored as {wrong[0][1]!r} ({len(wrong)} such)"
    if lost:
        detail += f"; {lost} choices were scored with another number of tokens"
    return SanityCheck(not wrong and not lost, detail)


def batch(scorer: "Scorer", task: EvalTask, answers: Answers) -> SanityCheck:
    """A few questions asked again, one row at a time."""
    sample = spread(task.questions, SINGLE)
    tokens, scorer.batch_tokens = scorer.batch_tokens, 1
    again = _ask(scorer, task, sample)
    scorer.batch_tokens = tokens
    return _same(scorer, [(answers[one.key].logprobs, again[one.key].logprobs) for one in sample])


def shuffled(scorer: "Scorer", task: EvalTask, answers: Answers) -> SanityCheck:
    """A few questions with their choices the other way round. Where the prompt lists them it
    changes too, and how many keep their answer is reported only."""
    sample = spread(task.questions, SAMPLE)
    turned = []
    for one in sample:
        if task.listed:  # the options of the prompt move, and the letters stay
            options = [one.doc[f"mc_answer{n}"] for n in range(1, 5)]
            doc = one.doc | {f"mc_answer{n}": text for n, text in enumerate(options[::-1], 1)}
            before = one.context.removesuffix(belebele_text(one.doc))
            turned.append(replace(one, context=before + belebele_text(doc), doc=doc))
        else:
            turned.append(replace(one, choices=one.choices[::-1]))
    again = _ask(scorer, task, turned)
    pairs = [
        (answers[one.key].logprobs, again[other.key].logprobs[::-1])
        for one, other in zip(sample, turned, strict=True)
    ]
    if not task.listed:
        return _same(scorer, pairs)
    kept = sum(a.index(max(a)) == b.index(max(b)) for a, b in pairs)
    detail = f"{kept} of {len(pairs)} keep their answer when the options move: reported only"
    return SanityCheck(None, detail)


def context(scorer: "Scorer", task: EvalTask, answers: Answers) -> SanityCheck:
    """A few questions with the context of another one: a value that depends on the question
    changes."""
    sample = spread(task.questions, SAMPLE)
    moved = [
        (one, replace(one, context=other.context))
        for one, other in zip(sample, [*sample[1:], *sample[:1]], strict=True)
        if one.context != other.context
    ]
    if not moved:
        return SanityCheck(None, "all questions have one context, so nothing could change")
    again = _ask(scorer, task, [other for _, other in moved])
    changed = sum(
        not _close(scorer, answers[one.key].logprobs, again[other.key].logprobs)
        for one, other in moved
    )
    detail = f"{changed} of {len(moved)} answers change with the context"
    return SanityCheck(changed > 0, detail)


def random_weights(scorer: "Scorer", task: EvalTask) -> SanityCheck:
    """To be asked of a scorer whose weights are random (`loading.randomize`)."""
    sample = [one for one in spread(task.questions, RANDOM_ITEMS) if one.gold >= 0]
    if not sample:
        return SanityCheck(None, "no question has an answer")
    rows, scorer.max_rows = scorer.max_rows, min(RANDOM_ROWS, scorer.max_rows)
    answers = _ask(scorer, task, sample)
    scorer.max_rows = rows
    items = [answered(one, answers[one.key]) for one in sample]
    predicted, gold = [item.predicted for item in items], [item.gold for item in items]
    low, high = permutation_interval(predicted, gold)
    hits = sum(item.correct for item in items)
    detail = f"{hits} of {len(items)} right; labels at random: {low} to {high}"
    if not low <= hits <= high:
        return SanityCheck(False, detail)
    # The most that predictions of these classes could get right, whatever gave the answer away.
    most = (Counter(predicted) & Counter(gold)).total()
    if most <= high:
        return SanityCheck(None, f"{detail}; it cannot fail: at most {most} could be right")
    return SanityCheck(True, detail)


OF_ANSWERS = (target, batch, shuffled, context)  # of the model as it is


def spread(questions: Sequence[Question], count: int) -> list[Question]:
    """Up to `count` different questions from all over the set, which may be sorted by class."""
    different = list({one.key: one for one in questions}.values())
    count = min(count, len(different))
    return [different[(2 * n + 1) * len(different) // (2 * count)] for n in range(count)]


def _ask(scorer: "Scorer", task: EvalTask, questions: Sequence[Question]) -> Answers:
    parts = answer_batches(scorer, questions, task.protocol)
    return {one.key: answer for part in parts for one, answer in part}


def _same(scorer: "Scorer", pairs: Sequence[tuple[list[float], list[float]]]) -> SanityCheck:
    largest = max((abs(a - b) for pair in pairs for a, b in zip(*pair, strict=True)), default=0.0)
    same = all(_close(scorer, *pair) for pair in pairs)
    return SanityCheck(same, f"largest difference {largest:.1e} nats")


def _close(scorer: "Scorer", values: Sequence[float], others: Sequence[float]) -> bool:
    """Whether values are equal beyond rounding, in the precision of the model."""
    import torch

    half = next(scorer.model.parameters()).dtype != torch.float32
    relative = HALF_TOLERANCE if half else TOLERANCE / 10
    return all(
        math.isclose(a, b, rel_tol=relative, abs_tol=TOLERANCE)
        for a, b in zip(values, others, strict=True)
    )
