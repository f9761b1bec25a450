"""What any system has to beat: answers that read nothing, or nothing but the choices."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from diffutron.evaluation.cetvel.questions import Question
from diffutron.evaluation.scorers.answer import Answer
from diffutron.text.turkish import words

Baseline = Callable[[Sequence[Question]], list[Answer]]


def random_choice(questions: Sequence[Question]) -> list[Answer]:
    """A draw that depends on the words of a question and a choice alone, so it never changes."""

    def uniform(context: str, choice: str) -> float:
        text = json.dumps([context, choice], ensure_ascii=False)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2**56

    return [
        Answer.of_values([uniform(one.context, choice) for choice in one.choices])
        for one in questions
    ]


def constant_choice(questions: Sequence[Question]) -> list[Answer]:
    """The one index that is right most often, known from the gold of the set: the best that can
    be had without looking."""
    gold = Counter(one.gold for one in questions if one.gold >= 0)
    best = min(gold, key=lambda index: (-gold[index], index))
    return [Answer.of_choice(best, len(one.choices)) for one in questions]


def longest_choice(questions: Sequence[Question]) -> list[Answer]:
    """The choice of most characters, the first of equals."""
    return [Answer.of_values([len(choice) for choice in one.choices]) for one in questions]


def shortest_choice(questions: Sequence[Question]) -> list[Answer]:
    """The choice of fewest characters, the first of equals."""
    return [Answer.of_values([-len(choice) for choice in one.choices]) for one in questions]


class Unigram:
    """log p(choice) from the frequency of its words in a training text, add-one smoothed; the
    context is not read."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.counts = Counter(word for text in texts for word in words(text))
        self.total = sum(self.counts.values()) + len(self.counts) + 1

    def __call__(self, questions: Sequence[Question]) -> list[Answer]:
        return [
            Answer.of_values([self._logprob(choice) for choice in one.choices], by_length=True)
            for one in questions
        ]

    def _logprob(self, choice: str) -> float:
        return sum(math.log((self.counts[word] + 1) / self.total) for word in words(choice))


BY_NAME: dict[str, Baseline] = {
    "random": random_choice,
    "constant": constant_choice,
    "longest": longest_choice,
    "shortest": shortest_choice,
}
