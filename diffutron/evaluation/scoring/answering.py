"""Questions to answers: what is cached is not asked again, the rest goes in batches of like length.

Every batch is on disk before the next one starts, so a kill costs one batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffutron.evaluation.cetvel.protocols import Protocol
from diffutron.evaluation.cetvel.questions import Question
from diffutron.evaluation.scorers.answer import Answer
from diffutron.evaluation.scoring.answer_cache import ItemCache
from diffutron.modeling.encoding import EncodedPair
from diffutron.runtime.progress import Progress

if TYPE_CHECKING:
    from diffutron.evaluation.scorers.scorer import Adapter

SPREAD = 1.1  # of lengths within a batch: less than a tenth of it is padding


@dataclass(frozen=True)
class Shard:
    """Which of `size` equal parts of the questions this process answers."""

    rank: int = 0
    size: int = 1


def answer_all(
    adapter: "Adapter",
    questions: Sequence[Question],
    protocol: Protocol,
    cache: ItemCache,
    *,
    shard: Shard = Shard(),  # noqa: B008 frozen
    bar: Progress | None = None,
) -> dict[str, Answer]:
    """The answers to this shard's questions, by key; `bar` is told of each batch."""
    bar = bar or Progress(total=None, desc="answers", enabled=False)
    known = cache.read()
    bar.skip(sum(one.key in known for one in questions))
    # Parts are of all questions: the ranks may see different states of the cache.
    different = {one.key: one for one in questions}.values()
    mine = [one for n, one in enumerate(different) if n % shard.size == shard.rank]
    new = [one for one in mine if one.key not in known]
    for batch in answer_batches(adapter, new, protocol):
        cache.append([(one.key, answer) for one, answer in batch])
        known |= {one.key: answer for one, answer in batch}
        bar.update(len(batch) * shard.size)  # the others are about as far
    return known


def answer_batches(
    adapter: "Adapter", questions: Sequence[Question], protocol: Protocol
) -> Iterator[list[tuple[Question, Answer]]]:
    """Questions with their answers, short ones first, a batch of like lengths at a time."""
    encoded = _encode(adapter, questions, protocol)
    costs = [sum(map(adapter.cost, pairs)) for pairs in encoded]
    lengths = [max(map(_length, pairs)) for pairs in encoded]
    chunk: list[int] = []
    cost = 0
    for number in sorted(range(len(questions)), key=lambda n: lengths[n]):
        full = cost + costs[number] > adapter.batch_tokens
        if chunk and (full or lengths[number] > SPREAD * lengths[chunk[0]]):
            yield _answer_chunk(adapter, questions, encoded, chunk)
            chunk, cost = [], 0
        chunk.append(number)
        cost += costs[number]
    if chunk:
        yield _answer_chunk(adapter, questions, encoded, chunk)


def _encode(
    adapter: "Adapter", questions: Sequence[Question], protocol: Protocol
) -> list[list[EncodedPair]]:
    pairs = iter(adapter.encode([pair for one in questions for pair in one.pairs], protocol))
    return [[next(pairs) for _ in one.choices] for one in questions]


def _length(pair: EncodedPair) -> int:
    return len(pair.context) + len(pair.continuation)


def _answer_chunk(
    adapter: "Adapter",
    questions: Sequence[Question],
    encoded: Sequence[list[EncodedPair]],
    chunk: Sequence[int],
) -> list[tuple[Question, Answer]]:
    scores = iter(adapter.score([pair for number in chunk for pair in encoded[number]]))
    return [
        (questions[number], Answer.of_scores([next(scores) for _ in encoded[number]]))
        for number in chunk
    ]
