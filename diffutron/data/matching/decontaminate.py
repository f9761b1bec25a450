"""Keep evaluation text out of training text: n-gram containment, and fields that stand in full.

A long field of an evaluation item (a passage, a news text) gives a document away by itself. A
short one (a question, a choice) says nothing alone, so the short fields count together: nearly
all of them must stand in the document. Or what the item asks stands there word for word, with
another of its fields, say the right answer, near it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffutron.config.data_params import ContaminationRules
from diffutron.text.fold import folded_words
from diffutron.text.normalize import normalize

# What an item asks (first) and answers with; the rest of a row is labels, numbers and addresses.
FIELDS = {
    "belebele_tr": ("question", *(f"mc_answer{number}" for number in range(1, 5)))
    + ("flores_passage",),
    "exams_tr": ("question.stem", "question.choices.text"),
    "ironytr": ("text",),
    "news_cat": ("text",),
    "mnli_tr": ("premise", "hypothesis"),
    "sts_tr": ("sentence1", "sentence2"),
    "xcopa_tr": ("premise", "choice1", "choice2"),
}
OWN = ("context", "choices")  # of any other task
SHORT_NGRAM = 3  # proposes the items whose short fields are then compared word by word
MIN_QUESTION = 16  # characters of at least one short field: choices such as "I ve II" say nothing
SHORT, ASKED = -1, -2  # in the place of a field: all short ones together, the first one in full
SHORT_PRESENT = 0.75  # share of the short fields of which half the words must be there
Ngram = tuple[str, ...]


@dataclass(frozen=True)
class Item:
    """One evaluation item: its name (`task:row`) and the words of each field, the first one first.

    A field that repeats an earlier one, or has no letter and no digit, is left out.
    """

    name: str
    fields: tuple[tuple[str, ...], ...]


def items_of(name: str, rows: Iterable[Mapping[str, Any]], task: str | None = None) -> list[Item]:
    """The texts of evaluation rows, as `Contamination` wants them; items are named `name:row`.

    task: whose fields the rows have, where it is not the name.
    """
    items = []
    for number, row in enumerate(rows, 1):
        # As the documents are, or a broken letter would part what it joins there.
        texts = map(normalize, item_texts(row, task or name))
        fields = dict.fromkeys(tuple(folded_words(text)) for text in texts)
        items.append(Item(f"{name}:{row.get('row', number)}", tuple(filter(None, fields))))
    return items


def item_texts(row: Mapping[str, Any], task: str) -> list[str]:
    """The texts of a row of `task`: what it asks, then the others in the order of FIELDS."""
    texts: list[str] = []
    for field in FIELDS.get(task, OWN):
        value: Any = row
        for name in field.split("."):
            value = value[name]
        texts += [value] if isinstance(value, str) else value
    return texts


class Contamination:
    """An index of evaluation items; `find` names the item that a document gives away."""

    def __init__(self, items: Sequence[Item], rules: ContaminationRules):
        self.rules = rules
        self.items = items
        self._long: dict[tuple[int, int], int] = {}  # (item, field) -> number of its n-grams
        self._where: dict[Ngram, set[tuple[int, int]]] = defaultdict(set)
        self._sizes = {2, SHORT_NGRAM, rules.ngram}  # of the n-grams in `_where`
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
                self._where[ngram].add((index, SHORT))
        if self.rules.whole_fields and item.fields and len(item.fields[0]) >= 2:
            asked = ngrams(item.fields[0], min(SHORT_NGRAM, len(item.fields[0])))
            rarest = max(asked, key=lambda ngram: (len("".join(ngram)), ngram))  # near enough
            self._where[rarest].add((index, ASKED))

    def _short_fields(self, item: Item) -> list[tuple[str, ...]]:
        return [field for field in item.fields if len(field) < self.rules.min_words]

    def find(self, text: str) -> str | None:
        """The name of the first item that a document contains, or None."""
        return next(self.find_all(text), None)

    def find_all(self, text: str) -> Iterator[str]:
        """The names of all items that a document contains, each once."""
        tokens = folded_words(text)
        counts = Counter(place for ngram in self._known(tokens) for place in self._where[ngram])
        found = {place[0] for place, count in counts.items() if self._gives(tokens, place, count)}
        return (self.items[index].name for index in sorted(found))

    def _known(self, tokens: Sequence[str]) -> Iterator[Ngram]:
        """The n-grams of a document that stand in the index, each once."""
        for size in self._sizes:
            grams = zip(*(tokens[start:] for start in range(size)), strict=False)
            yield from set(filter(self._where.__contains__, grams))

    def _gives(self, tokens: Sequence[str], place: tuple[int, int], count: int) -> bool:
        """Whether a document holds what stands at `place`, of which it has `count` n-grams."""
        index, field = place
        if field == SHORT:
            return count >= 2 and self._holds_short_fields(tokens, self.items[index])
        if field == ASKED:
            return self._holds_whole_fields(tokens, self.items[index])
        return count >= self.rules.threshold * self._long[place]

    def _holds_short_fields(self, tokens: Sequence[str], item: Item) -> bool:
        """Whether nearly all words of the short fields stand together, field by field."""
        short = self._short_fields(item)
        least = self.rules.short_threshold * sum(map(len, short))
        there = set(tokens)
        if sum(word in there for field in short for word in field) < least:
            return False
        overlaps = [window_overlap(tokens, field) for field in short]
        present = sum(2 * o >= len(field) for o, field in zip(overlaps, short, strict=True))
        return sum(overlaps) >= least and present >= SHORT_PRESENT * len(short)

    def _holds_whole_fields(self, tokens: Sequence[str], item: Item) -> bool:
        """Whether the first field stands there word for word, with another one near it.

        An item of one field has no other; it must have words enough to be no accident.
        """
        rules = self.rules.whole_fields
        first, *others = item.fields
        if rules is None or not others:
            return rules is not None and len(first) >= rules.words and holds(tokens, first)
        enough = [other for other in others if len(first) + len(other) >= rules.words]
        for start in places(tokens, first):
            end = start + len(first)
            before, after = tokens[max(0, start - rules.reach) : start], tokens[end:][: rules.reach]
            if any(holds(before, other) or holds(after, other) for other in enough):
                return True
        return False


def places(tokens: Sequence[str], field: Sequence[str]) -> Iterator[int]:
    """Where `field` starts in `tokens`, word for word."""
    wanted, first = list(field), field[0]
    for start, token in enumerate(tokens[: len(tokens) - len(wanted) + 1]):
        if token == first and tokens[start : start + len(wanted)] == wanted:
            yield start


def holds(tokens: Sequence[str], field: Sequence[str]) -> bool:
    return next(places(tokens, field), None) is not None


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
