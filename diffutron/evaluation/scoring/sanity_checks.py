"""What must hold before a number of the leaderboard is believed.

`oracle`: an answer sheet of the protocol's own gold gets everything right. `target`: the tokens
that were scored spell the choice. `batch`: a batch of one gives the values of a batch of many.
`shuffled`: the order of the choices changes no value. `random_weights`: the same shape with random
weights does as well as labels dealt out at random would make its predictions do, not better.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from diffutron.evaluation.cetvel.prompts import belebele_text
from diffutron.evaluation.cetvel.protocols import Protocol
from diffutron.evaluation.cetvel.questions import Question
from diffutron.evaluation.scorers.answer import Answer
from diffutron.evaluation.scoring.answering import answer_batches
from diffutron.evaluation.scoring.task_numbers import answered
from diffutron.evaluation.statistics.intervals import permutation_interval

if TYPE_CHECKING:
    from diffutron.evaluation.scorers.scorer import Adapter

NAMES = ("oracle", "target", "batch", "shuffled", "random_weights")
SAMPLE = 8  # questions asked again
RANDOM_ITEMS = 100  # questions asked of random weights
TOLERANCE = 1e-4  # nats, float32
HALF_TOLERANCE = 0.02  # of a value, in half precision


@dataclass(frozen=True)
class Canary:
    """passed: None where the check does not apply or is only reported."""

    passed: bool | None
    detail: str


def oracle(questions: Sequence[Question]) -> Canary:
    """Questions without a right answer (label -1) are left out, and counted."""
    asked = [one for one in questions if one.gold >= 0]
    right = sum(
        one.gold < len(one.choices)
        and answered(one, Answer.of_choice(one.gold, len(one.choices))).correct
        for one in asked
    )
    left_out = len(questions) - len(asked)
    detail = f"{right} of {len(asked)} right" + (f", {left_out} have no answer" * bool(left_out))
    return Canary(right == len(asked), detail)


def target(
    adapter: "Adapter",
    questions: Sequence[Question],
    protocol: Protocol,
    answers: dict[str, Answer],
) -> Canary:
    """The scored tokens, decoded, against the choice after the tokenizer's own normalization;
    white space is ignored, since tokenizers differ in where they keep it."""
    tokenizer = adapter.tokenizer
    pairs = adapter.encode([pair for one in questions for pair in one.pairs], protocol)
    choices = [choice for one in questions for choice in one.choices]
    counts = [count for one in questions for count in answers[one.key].tokens]
    seen = {(choice, pair.continuation) for choice, pair in zip(choices, pairs, strict=True)}
    wrong = [
        (choice, tokenizer.decode(ids))
        for choice, ids in sorted(seen)
        if _letters(tokenizer.decode(ids)) != _letters(_spoken(tokenizer, choice))
    ]
    lost = sum(count != len(pair.continuation) for count, pair in zip(counts, pairs, strict=True))
    unknown = sum(tokenizer.unk_token_id in pair.continuation for pair in pairs)
    long = sum(len(p.context) + len(p.continuation) > adapter.max_length for p in pairs)
    detail = f"{len(pairs)} choices, {unknown} with unknown tokens, {long} prompts cut to fit"
    if wrong:
        detail += f"; {wrong[0][0]!r} was scored as {wrong[0][1]!r} ({len(wrong)} such)"
    if lost:
        detail += f"; {lost} choices were scored with another number of tokens"
    return Canary(not wrong and not lost, detail)


def _spoken(tokenizer: Any, choice: str) -> str:
    return tokenizer.decode(tokenizer(choice, add_special_tokens=False)["input_ids"])


def _letters(text: str) -> str:
    return "".join(text.split())


def batch(
    adapter: "Adapter",
    questions: Sequence[Question],
    protocol: Protocol,
    answers: dict[str, Answer],
) -> Canary:
    """A few questions asked again, one row at a time."""
    sample = spread(questions, SAMPLE)
    tokens, adapter.batch_tokens = adapter.batch_tokens, 1
    again = _ask(adapter, sample, protocol)
    adapter.batch_tokens = tokens
    return _same(adapter, [(answers[one.key].logprobs, again[one.key].logprobs) for one in sample])


def shuffled(
    adapter: "Adapter",
    questions: Sequence[Question],
    protocol: Protocol,
    answers: dict[str, Answer],
    *,
    listed: bool,
) -> Canary:
    """A few questions with their choices the other way round. Where the prompt lists them
    (`listed`) it changes too, and how many keep their answer is reported only."""
    sample = spread(questions, SAMPLE)
    turned = [_relisted(one) if listed else _reversed(one) for one in sample]
    again = _ask(adapter, turned, protocol)
    pairs = [
        (answers[one.key].logprobs, again[other.key].logprobs[::-1])
        for one, other in zip(sample, turned, strict=True)
    ]
    if not listed:
        return _same(adapter, pairs)
    kept = sum(a.index(max(a)) == b.index(max(b)) for a, b in pairs)
    return Canary(None, f"{kept} of {len(pairs)} keep their answer when the options move")


def _reversed(one: Question) -> Question:
    return replace(one, choices=one.choices[::-1])


def _relisted(one: Question) -> Question:
    """The options of the prompt the other way round; the letters stay."""
    options = [one.doc[f"mc_answer{n}"] for n in range(1, 5)]
    doc = one.doc | {f"mc_answer{n}": text for n, text in enumerate(options[::-1], 1)}
    before = one.context.removesuffix(belebele_text(one.doc))
    return replace(one, context=before + belebele_text(doc), doc=doc)


def random_weights(adapter: "Adapter", questions: Sequence[Question], protocol: Protocol) -> Canary:
    """To be asked of an adapter whose weights are random (`loading.randomize`)."""
    sample = [one for one in spread(questions, RANDOM_ITEMS) if one.gold >= 0]
    answers = _ask(adapter, sample, protocol)
    items = [answered(one, answers[one.key]) for one in sample]
    predicted, gold = [item.predicted for item in items], [item.gold for item in items]
    low, high = permutation_interval(predicted, gold)
    hits = sum(item.correct for item in items)
    detail = f"{hits} of {len(items)} right; labels at random: {low} to {high}"
    return Canary(low <= hits <= high, detail)


def spread(questions: Sequence[Question], count: int) -> list[Question]:
    """Up to `count` different questions from all over the set, which may be sorted by class."""
    different = list({one.key: one for one in questions}.values())
    count = min(count, len(different))
    return [different[(2 * n + 1) * len(different) // (2 * count)] for n in range(count)]


def _ask(
    adapter: "Adapter", questions: Sequence[Question], protocol: Protocol
) -> dict[str, Answer]:
    return {
        one.key: answer
        for part in answer_batches(adapter, questions, protocol)
        for one, answer in part
    }


def _same(adapter: "Adapter", pairs: Sequence[tuple[list[float], list[float]]]) -> Canary:
    import torch

    half = next(adapter.model.parameters()).dtype != torch.float32
    relative = HALF_TOLERANCE if half else TOLERANCE / 10
    gaps = [abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=True)]
    same = all(
        math.isclose(a, b, rel_tol=relative, abs_tol=TOLERANCE)
        for one, other in pairs
        for a, b in zip(one, other, strict=True)
    )
    return Canary(same, f"largest difference {max(gaps, default=0.0):.1e} nats")
