"""Questions to answers: what is cached is not asked again, the rest goes in batches of like length.

Every batch is on disk before the next one starts, so a kill costs one batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffutron.evaluation.cetvel.protocols import Protocol
from diffutron.evaluation.cetvel.questions import Question
from diffutron.evaluation.scorers.answer import Answer
from diffutron.evaluation.scoring.answer_cache import AnswerCache
from diffutron.runtime.progress import Progress

if TYPE_CHECKING:
    from diffutron.evaluation.scorers.scorer import Scorer

SPREAD = 1.1  # of lengths within a batch: less than a tenth of it is padding


@dataclass(frozen=True)
class Shard:
    """Which of `size` equal parts of the questions this process answers."""

    rank: int = 0
    size: int = 1


ALONE = Shard()


def answer_all(
    scorer: "Scorer",
    questions: Sequence[Question],
    protocol: Protocol,
    cache: AnswerCache,
    *,
    shard: Shard = ALONE,
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
    for batch in answer_batches(scorer, new, protocol):
        cache.append([(one.key, answer) for one, answer in batch])
        known |= {one.key: answer for one, answer in batch}
        bar.update(len(batch) * shard.size)  # the others are about as far
    return known


def answer_batches(
    scorer: "Scorer", questions: Sequence[Question], protocol: Protocol
) -> Iterator[list[tuple[Question, Answer]]]:
    """Questions with their answers, short ones first, a batch of like lengths at a time."""
    encoded = scorer.encode_questions(questions, protocol)
    costs = [sum(map(scorer.cost, each)) for each in encoded]
    lengths = [max(map(len, each)) for each in encoded]
    chunks: list[list[int]] = []
    cost = 0
    for number in sorted(range(len(questions)), key=lambda n: lengths[n]):
        full = cost + costs[number] > scorer.batch_tokens
        if not chunks or full or lengths[number] > SPREAD * lengths[chunks[-1][0]]:
            chunks.append([])
            cost = 0
        chunks[-1].append(number)
        cost += costs[number]
    for chunk in chunks:
        scores = iter(scorer.score([pair for number in chunk for pair in encoded[number]]))
        yield [
            (questions[number], Answer.of_scores([next(scores) for _ in encoded[number]]))
            for number in chunk
        ]
