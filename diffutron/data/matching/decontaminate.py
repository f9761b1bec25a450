"""Keep evaluation text out of training text: n-gram containment, case and punctuation ignored.

A long field of an evaluation item (a passage, a news text) gives a document away by itself. A
short one (a question, a choice) says nothing alone, so the short fields count together: nearly
all of them must stand in the document.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffutron.config.params import ContaminationRules
from diffutron.text.normalize import normalize
from diffutron.text.turkish import words

# What an item asks and answers with; the rest of a row is labels, numbers and addresses.
FIELDS = {
    "belebele_tr": ("flores_passage", "question")
    + tuple(f"mc_answer{number}" for number in range(1, 5)),
    "exams_tr": ("question.stem", "question.choices.text"),
    "ironytr": ("text",),
    "news_cat": ("text",),
    "mnli_tr": ("premise", "hypothesis"),
    "sts_tr": ("sentence1", "sentence2"),
    "xcopa_tr": ("premise", "choice1", "choice2"),
}
SHORT_NGRAM = 3  # proposes the items whose short fields are then compared word by word
MIN_QUESTION = 16  # characters of at least one short field: choices such as "I ve II" say nothing
SHORT_PRESENT = 0.75  # share of the short fields of which half the words must be there
Ngram = tuple[str, ...]


@dataclass(frozen=True)
class Item:
    """One evaluation item: its name (`task:row`) and the words of each field."""

    name: str
    fields: tuple[tuple[str, ...], ...]


def items_of(name: str, rows: Iterable[Mapping[str, Any]], task: str | None = None) -> list[Item]:
    """The texts of evaluation rows, as `Contamination` wants them; items are named `name:row`.

    task: whose fields the rows have, where it is not the name.
    """
    items = []
    for number, row in enumerate(rows, 1):
        texts = [text for field in FIELDS[task or name] for text in _texts(row, field)]
        # As the documents are, or a broken apostrophe would part what it joins there.
        fields = dict.fromkeys(tuple(_folded(words(normalize(text)))) for text in texts)
        items.append(Item(f"{name}:{row.get('row', number)}", tuple(filter(None, fields))))
    return items


def _folded(tokens: Iterable[str]) -> list[str]:
    """One letter for dotted and dotless i: capitals may have been made by another language."""
    return [token.replace("ı", "i") for token in tokens]


def _texts(row: Mapping[str, Any], field: str) -> list[str]:
    value: Any = row
    for name in field.split("."):
        value = value[name]
    return [value] if isinstance(value, str) else list(value)


class Contamination:
    """An index of evaluation items; `find` names the item that a document gives away."""

    def __init__(self, items: Sequence[Item], rules: ContaminationRules):
        self.rules = rules
        self.items = items
        self._long: dict[tuple[int, int], int] = {}  # (item, field) -> number of its n-grams
        self._where: dict[Ngram, set[tuple[int, int]]] = defaultdict(set)
        for index, item in enumerate(items):
            self._add(index, item)

    def _add(self, index: int, item: Item) -> None:
        for number, field in enumerate(item.fields):
            if len(field) >= self.rules.min_words:
                found = ngrams(field, self.rules.ngram)
                self._long[index, number] = len(found)
                for ngram in found:
                    self._where[ngram].add((index, number))
        short = self._short_fields(item)
        says_enough = sum(map(len, short)) >= self.rules.min_item_words
        if says_enough and any(len(" ".join(field)) >= MIN_QUESTION for field in short):
            for ngram in set().union(*(ngrams(field, SHORT_NGRAM) for field in short)):
                self._where[ngram].add((index, -1))

    def _short_fields(self, item: Item) -> list[tuple[str, ...]]:
        return [field for field in item.fields if len(field) < self.rules.min_words]

    def find(self, tokens: Sequence[str]) -> str | None:
        """The name of the first item that a document of these words contains, or None."""
        return next(self.find_all(tokens), None)

    def find_all(self, tokens: Sequence[str]) -> Iterator[str]:
        """The names of all items that a document of these words contains, each once."""
        told = set()
        tokens = _folded(tokens)
        mine = ngrams(tokens, self.rules.ngram) | ngrams(tokens, SHORT_NGRAM)
        hits = Counter(place for ngram in mine & self._where.keys() for place in self._where[ngram])
        for (index, field), count in sorted(hits.items()):
            if field >= 0:
                given_away = count >= self.rules.threshold * self._long[index, field]
            else:
                given_away = count >= 2 and self._holds_short_fields(tokens, self.items[index])
            if given_away and index not in told:
                told.add(index)
                yield self.items[index].name

    def _holds_short_fields(self, tokens: Sequence[str], item: Item) -> bool:
        """Whether nearly all words of the short fields stand together, field by field."""
        short = self._short_fields(item)
        overlaps = [window_overlap(tokens, field) for field in short]
        present = sum(2 * o >= len(field) for o, field in zip(overlaps, short, strict=True))
        least = self.rules.short_threshold * sum(map(len, short))
        return sum(overlaps) >= least and present >= SHORT_PRESENT * len(short)


def ngrams(tokens: Sequence[str], n: int) -> set[Ngram]:
    return set(zip(*(tokens[start:] for start in range(n)), strict=False))


def window_overlap(tokens: Sequence[str], field: Sequence[str]) -> int:
    """Most words of `field` that stand in one stretch of `tokens` as long as the field."""
    wanted = Counter(field)
    have: Counter[str] = Counter()
    best = overlap = 0
    for place, token in enumerate(tokens):
        have[token] += 1
        overlap += have[token] <= wanted[token]
        if place >= len(field):
            old = tokens[place - len(field)]
            overlap -= have[old] <= wanted[old]
            have[old] -= 1
        best = max(best, overlap)
    return best
