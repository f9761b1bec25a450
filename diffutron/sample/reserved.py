"""Whether a training text holds all content words of one evaluation item.

The partition keeps sentences apart; a longer document could still happen to hold every word of an
item. Items that ask for knowledge are not looked at: their facts belong into training.
"""

from collections import Counter, defaultdict
from functools import lru_cache
from typing import Any

from diffutron.sample.evaluation import TASKS, evaluation_set
from diffutron.sample.partition import content_words, words

_FIELDS = {
    "ironytr": ("text",), "news_cat": ("text",), "mnli_tr": ("premise", "hypothesis"),
    "sts_tr": ("sentence1", "sentence2"), "xcopa_tr": ("premise", "choice1", "choice2"),
}  # fmt: skip


def item_words(seed: int) -> frozenset[str]:
    """Return every word of every evaluation item: passages, questions, choices, sentences."""
    found: set[str] = set()
    for task in TASKS:
        for row in evaluation_set(task, seed):
            found.update(word for text in item_texts(task, row) for word in words(text))
    return frozenset(found)


def item_texts(task: str, row: dict[str, Any]) -> list[str]:
    """Return the texts of an item; the labels that every item of a task shares are not texts."""
    if task == "exams_tr":
        return [row["question"]["stem"], *row["question"]["choices"]["text"]]
    if task == "belebele_tr":
        options = [row[f"mc_answer{i}"] for i in range(1, 5)]
        return [row["flores_passage"], row["question"], *options]
    return [row[field] for field in _FIELDS[task]]


@lru_cache(maxsize=4)
def _by_rarest_word(seed: int) -> dict[str, list[frozenset[str]]]:
    items = [
        content_words(" ".join(item_texts(task, row)))
        for task in _FIELDS
        for row in evaluation_set(task, seed)
    ]
    counts = Counter(word for item in items for word in item)
    index: dict[str, list[frozenset[str]]] = defaultdict(list)
    for item in items:
        index[min(item, key=lambda word: (counts[word], word))].append(item)
    return dict(index)


def holds_item(text: str, seed: int) -> bool:
    """Return whether the content words of some evaluation item all stand in `text`."""
    found = content_words(text)
    index = _by_rarest_word(seed)
    return any(item <= found for word in found if word in index for item in index[word])
