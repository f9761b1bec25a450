"""The steps of the stage `instructions` that judge a row by itself: what makes it unfit."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from diffutron.config.data_params import LanguageParams, RepetitionParams
from diffutron.data.matching.decontaminate import Contamination
from diffutron.data.sources.sources import Instruction
from diffutron.text.filters import repetition_reason
from diffutron.text.fold import folded_words
from diffutron.text.language import in_kept_language
from diffutron.text.normalize import normalize_letters, repaired
from diffutron.text.privacy import replace_personal_data
from diffutron.text.turkish import exact_key

PHASES = (1, 2)
SPLITS = ("train", "heldout")
REASONS = (
    "bad_line", "empty", "truncated", "language", "repetition", "duplicate", "contaminated",
    "too_long", "quota",
)  # fmt: skip
BATCH = 1000  # rows in memory
CUTS = 4  # times that a prompt is made shorter; its tokens are known only after
TRUNCATED_FROM = 8  # words; a shorter answer may well end in a colon
_OPEN_ENDS = (",", ";", ":", "-", "–", "(", "/", "...", "…")

T = TypeVar("T")
Chat = list[dict[str, str]]
Encode = Callable[[Sequence[str | Chat], Sequence[str]], list[tuple[list[int], list[int]]]]


@dataclass(slots=True)
class Row:
    """A row on its way; `input_ids` is prompt and answer, the answer starts at `answer_start`."""

    phase: int
    source: str
    prompt: str
    answer: str
    reason: str = ""
    input_ids: list[int] = field(default_factory=list)
    answer_start: int = 0
    split: str = ""
    id: str = ""
    turns: tuple[tuple[str, str], ...] = ()  # of a conversation: role and content, answer left out
    translation: bool = False  # may be in any language

    def __post_init__(self) -> None:
        text = f"{self.phase}\0{self.prompt}\0{self.answer}"
        self.id = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def raw_row(
    found: Instruction, phase: int, edited: Counter[str] | None = None, *, plates: bool = False
) -> Row:
    """A row in its normal form.

    edited: where given, personal data is replaced, and counted here by kind, beside the rows that
    each kind of repair changed (`repaired`). plates: whether licence plates are personal data.
    """
    kinds, told = set[str](), Counter[str]()

    def tidy(text: str, told: Counter[str]) -> str:
        text = normalize_letters(text, kinds)
        if edited is None:
            return text
        text, personal = replace_personal_data(text, plates=plates)
        told.update(personal)
        return text

    prompt, answer = tidy(found.prompt, told).strip("\n "), tidy(found.answer, told).strip()
    # The prompt of a conversation is its turns, so that they are counted already.
    turns = tuple((role, tidy(text, Counter()).strip()) for role, text in found.turns)
    if edited is not None:
        edited.update(told)
        edited.update(map(repaired, kinds))
    return Row(phase, found.source, prompt, answer, turns=turns, translation=found.translation)


def alive(rows: Iterable[Row]) -> Iterator[Row]:
    return (row for row in rows if not row.reason)


def drop_broken(rows: Sequence[Row]) -> None:
    """Rows with nothing to ask or to answer, and answers that break off."""
    for row in rows:
        if not row.prompt or not row.answer:
            row.reason = "empty"
        elif len(row.answer.split()) >= TRUNCATED_FROM and row.answer.endswith(_OPEN_ENDS):
            row.reason = "truncated"


def drop_languages(rows: Iterable[Row], rules: LanguageParams) -> None:
    """`language`: the prompt or the answer is in another language than those that are kept, if any
    are named. A translation may be in any."""
    if not rules.kept:
        return
    for row in alive(rows):
        if not row.translation and not all(
            in_kept_language(text, rules) for text in (row.prompt, _said_anew(row, rules))
        ):
            row.reason = "language"


def _said_anew(row: Row, rules: LanguageParams) -> str:
    """The answer; nothing where too few of its words are not those of the prompt: names that are
    taken from there are in no language."""
    asked = set(folded_words(row.prompt))
    own = sum(1 for word in folded_words(row.answer) if word not in asked)
    return row.answer if own >= rules.min_words else ""


def drop_repetition(rows: Iterable[Row], rules: RepetitionParams) -> None:
    """`repetition`: the prompt or the answer says the same over and over. Lines of a prompt that
    are alike, but not the same, may be options to choose from."""
    for row in alive(rows):
        lines = row.prompt.split("\n")
        if (
            repetition_reason(row.prompt, rules) == "duplicate_lines"
            or any(repetition_reason(text, rules) for text in (*lines, row.answer))
        ):  # fmt: skip
            row.reason = "repetition"


def drop_duplicate_rows(rows: Sequence[Row], seen: set[int]) -> None:
    """Later rows that ask the same and answer the same, case and white space ignored.

    seen: the keys of the rows before, 64 bits each; those of these rows are added.
    """
    for row in alive(rows):
        key = hash((exact_key(row.prompt), exact_key(row.answer)))
        if key in seen:
            row.reason = "duplicate"
        seen.add(key)


def drop_contaminated_rows(rows: Sequence[Row], contamination: Contamination) -> None:
    """Rows that hold an evaluation item."""
    for row in alive(rows):
        if contamination.find(f"{row.prompt}\n{row.answer}"):
            row.reason = "contaminated"


def drop_long(rows: Iterable[Row], encode: Encode, *, most: int, cut: bool = False) -> None:
    """Encode every row; those of more than `most` tokens in all are dropped.

    cut: shorten prompts first (`cut_lines`); a conversation and an answer are never shortened.
    """
    left = list(alive(rows))
    _encode(left, encode)
    long = [row for row in left if len(row.input_ids) > most]
    for _ in range(CUTS if cut else 0):
        cuttable = [row for row in long if _cut(row, most)]
        _encode(cuttable, encode)
        long = [row for row in long if len(row.input_ids) > most]
    for row in long:
        row.reason = "too_long"


def _encode(rows: Sequence[Row], encode: Encode) -> None:
    pairs = encode([asked(row) for row in rows], [row.answer for row in rows]) if rows else []
    for row, (prompt, answer) in zip(rows, pairs, strict=True):
        row.input_ids, row.answer_start = prompt + answer, len(prompt)


def _cut(row: Row, most: int) -> bool:
    """Shorten a prompt by what its row has too much; False if that cannot help."""
    room = most - (len(row.input_ids) - row.answer_start)
    if row.turns or room <= 0:
        return False
    row.prompt = cut_lines(row.prompt, int(len(row.prompt) * room / row.answer_start))
    return bool(row.prompt)


def cut_lines(text: str, most: int) -> str:
    """At most `most` characters of a text, from its start; the longest lines lose their ends.

    A question, an option or a heading stands in a short line and stays whole, wherever it stands.
    Lines are cut between words and then end in an ellipsis.
    """
    lines = text.split("\n")
    room = most - (len(lines) - 1)
    for place, length in enumerate(sorted(map(len, lines))):
        if length * (len(lines) - place) > room:
            longest = max(0, room // (len(lines) - place))
            return "\n".join(_cut_line(line, longest) for line in lines).strip("\n ")
        room -= length
    return text


def _cut_line(line: str, most: int) -> str:
    if len(line) <= most:
        return line
    kept = line[: max(0, most - 2)]
    return f"{kept.rsplit(' ', 1)[0]} …" if " " in kept else ""


def asked(row: Row) -> str | Chat:
    """What the answer answers: a text, or the messages of a conversation."""
    if not row.turns:
        return row.prompt
    return [{"role": role, "content": content} for role, content in row.turns]


def number(seed: int, purpose: str, identity: str) -> int:
    """64 bits that depend on these alone; rows are drawn in their order."""
    text = f"{seed}:{purpose}:{identity}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())


def in_batches(rows: Iterable[T]) -> Iterator[list[T]]:
    """Consecutive rows, `BATCH` at a time."""
    left = iter(rows)
    while batch := list(islice(left, BATCH)):
        yield batch
