"""The steps of the stage `instructions`: what makes a row unfit, and what must stay together."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from diffutron.config.data_params import (
    InstructionsParams,
    LanguageParams,
    NearDuplicateParams,
    RepetitionParams,
)
from diffutron.data.instructions.clusters import row_clusters
from diffutron.data.matching.decontaminate import Contamination
from diffutron.data.sources.sources import Instruction
from diffutron.runtime.errors import UserError
from diffutron.runtime.progress import Progress
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
BATCH = 1000  # rows encoded at once
LABEL_SHARE = 0.05  # of the rows of a source; answers of so many are labels
CUTS = 4  # times that a prompt is made shorter; its tokens are known only after
TRUNCATED_FROM = 8  # words; a shorter answer may well end in a colon
_OPEN_ENDS = (",", ";", ":", "-", "–", "(", "/", "...", "…")

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


def drop_duplicate_rows(rows: Sequence[Row]) -> None:
    """Later rows that ask the same and answer the same, case and white space ignored."""
    seen: set[tuple[int, int]] = set()
    for row in alive(rows):
        key = (exact_key(row.prompt), exact_key(row.answer))
        if key in seen:
            row.reason = "duplicate"
        seen.add(key)


def drop_contaminated_rows(rows: Sequence[Row], contamination: Contamination) -> None:
    """Rows that hold an evaluation item."""
    for row in alive(rows):
        if contamination.find(f"{row.prompt}\n{row.answer}"):
            row.reason = "contaminated"


def drop_long(
    rows: Sequence[Row], encode: Encode, *, most: int, desc: str, cut: bool = False
) -> None:
    """Encode every row; those of more than `most` tokens in all are dropped.

    cut: shorten prompts first (`cut_lines`); a conversation and an answer are never shortened.
    """
    left = list(alive(rows))
    with Progress(total=len(left), desc=desc, unit="rows") as bar:
        for start in range(0, len(left), BATCH):
            batch = left[start : start + BATCH]
            _encode(batch, encode)
            long = [row for row in batch if len(row.input_ids) > most]
            for _ in range(CUTS if cut else 0):
                cuttable = [row for row in long if _cut(row, most)]
                _encode(cuttable, encode)
                long = [row for row in long if len(row.input_ids) > most]
            for row in long:
                row.reason = "too_long"
            bar.update(len(batch))


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


def draw(rows: Sequence[Row], rules: InstructionsParams, *, seed: int) -> None:
    """At most `max_rows` rows, drawn uniformly, or of each source as many as of the others while
    it has some; the draw depends on text and seed alone."""
    if rules.max_rows is None:
        return
    left = sorted(alive(rows), key=lambda row: _number(seed, "quota", row.id))
    by_source = rules.balance == "source"
    have = Counter(row.source if by_source else "" for row in left)
    shares = equal_shares(have, rules.max_rows)
    for row in left:
        share = row.source if by_source else ""
        shares[share] -= 1
        if shares[share] < 0:
            row.reason = "quota"


def equal_shares(have: Mapping[str, int], most: int) -> dict[str, int]:
    """How many of each source make `most` in all, as equal as what each has allows."""
    shares: dict[str, int] = {}
    for place, (source, number) in enumerate(sorted(have.items(), key=lambda one: (one[1], one))):
        shares[source] = min(number, (most - sum(shares.values())) // (len(have) - place))
    return shares


def split_rows(
    rows: Sequence[Row], rules: InstructionsParams, near: NearDuplicateParams, *, seed: int
) -> None:
    """Hold out `heldout_rows` rows of each phase, by whole clusters.

    Raises:
        UserError: a phase has too few rows for that.
    """
    hold_out(rows, rules.heldout_rows, near, seed=seed)
    left = Counter(row.phase for row in alive(rows))
    held = Counter(row.phase for row in rows if row.split == "heldout")
    for phase in PHASES:
        if held[phase] < rules.heldout_rows or held[phase] == left[phase]:
            raise UserError(
                f"instructions: {left[phase]} rows of phase {phase} are left, too few to hold "
                f"out instructions.heldout_rows = {rules.heldout_rows}; lower it or bring more rows"
            )


def hold_out(
    rows: Sequence[Row], number: int, near: NearDuplicateParams, *, seed: int, facts: bool = True
) -> None:
    """Hold out whole clusters until `number` rows of each phase are held out, of each kind
    (source, and label where answers are labels) its share.

    Where the clusters of a kind are too large for that, others take its place. Where all are too
    large, fewer rows are held out. The other rows are for training. facts: as `row_clusters`.
    """
    left = list(alive(rows))
    members: dict[int, list[Row]] = {}
    for row, cluster in zip(left, row_clusters(left, near, facts=facts), strict=True):
        members.setdefault(cluster, []).append(row)
        row.split = "train"
    order = sorted(members, key=lambda one: _number(seed, "split", members[one][0].id))
    drawn = [members[cluster] for cluster in order]
    most = number // 4  # a phase holds out at most so many rows more than asked for
    kind = _kinds(left)
    of_phase, of_kind = Counter(row.phase for row in left), Counter(map(kind, left))
    shares = {one: number * n // of_phase[one[0]] for one, n in of_kind.items()}
    _hold_out(drawn, shares, kind, slack=most // 25)
    held = Counter(row.phase for row in left if row.split == "heldout")
    missing = {phase: number - held[phase] for phase in of_phase}
    _hold_out(drawn, missing, lambda row: row.phase, slack=most)


def _kinds(rows: Sequence[Row]) -> Callable[[Row], tuple[int, str, str]]:
    """From a row to (phase, source, label); the label is "" where the answer is no common one."""
    of_source = Counter((row.phase, row.source) for row in rows)
    of_answer = Counter((row.phase, row.source, row.answer) for row in rows)
    labels = {one for one, n in of_answer.items() if n >= LABEL_SHARE * of_source[one[:2]]}

    def kind(row: Row) -> tuple[int, str, str]:
        label = row.answer if (row.phase, row.source, row.answer) in labels else ""
        return row.phase, row.source, label

    return kind


def _hold_out(
    clusters: Sequence[Sequence[Row]],
    wanted: Mapping[Any, int],
    kind: Callable[[Row], Any],
    *,
    slack: int,
) -> None:
    """Hold out clusters in their order while rows of their kinds are missing, never more than
    `slack` rows of a kind too many.
    """
    missing = dict(wanted)
    for cluster in clusters:
        kinds = Counter(map(kind, cluster))
        if cluster[0].split == "heldout" or not any(missing[one] > 0 for one in kinds):
            continue
        if any(n > max(missing[one], 0) + slack for one, n in kinds.items()):
            continue
        for row in cluster:
            row.split = "heldout"
            missing[kind(row)] -= 1


def _number(seed: int, purpose: str, identity: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{purpose}:{identity}".encode(), digest_size=8).digest()
