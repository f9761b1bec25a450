"""Rows of one's own: read in any of the three forms, sifted, encoded, and split."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffutron.data.instructions.row_table import split_rows
from diffutron.data.instructions.steps import (
    Encode,
    Row,
    alive,
    drop_broken,
    drop_duplicate_rows,
    drop_languages,
    drop_long,
    in_batches,
    raw_row,
)
from diffutron.data.sources.instruction_schemas import COLUMNS, Instruction, form_of, phase_of
from diffutron.data.sources.row_readers import KINDS as READABLE
from diffutron.data.sources.row_readers import BadLine, RawRow, list_files, read_file
from diffutron.data.sources.sources import raw_instruction
from diffutron.runtime.errors import UserError
from diffutron.runtime.progress import Progress
from diffutron.tuning.settings import TuneParams, held_out_of

PHASE = 1  # all rows are of one phase, whatever their form
KINDS = tuple(ending for ending in READABLE if ".txt" not in ending)
FORMS = '{"instruction", "input", "output"}, {"Input", "Output"} or {"messages": [...]}'
REASONS = (
    "bad_line", "contaminated", "empty", "truncated", "language", "duplicate", "too_long",
)  # fmt: skip
EXAMPLES = 3


@dataclass(frozen=True)
class TuningRows:
    """The rows of the files, each either kept (`split` is set) or dropped for its `reason`."""

    rows: list[Row]
    bad_lines: list[BadLine]

    def of(self, split: str) -> list[Row]:
        return [row for row in self.rows if row.split == split]

    @property
    def counts(self) -> dict[str, int]:
        """How many rows were read, how many are learned from, how many are held out."""
        read = len(self.rows) + len(self.bad_lines)
        return {"read": read, **{split: len(self.of(split)) for split in ("train", "heldout")}}

    @property
    def dropped(self) -> dict[str, int]:
        """How many rows each reason took."""
        found = Counter(row.reason for row in self.rows if row.reason)
        found["bad_line"] = len(self.bad_lines)
        return {reason: found[reason] for reason in REASONS if found[reason]}

    @property
    def bad_examples(self) -> str:
        """Where the first rows stand that cannot be used, and why."""
        return "; ".join(
            f"{one.file} line {one.line}: {one.why}" for one in self.bad_lines[:EXAMPLES]
        )


def files_of(data: Path, *, kinds: tuple[str, ...] = KINDS) -> list[Path]:
    """The file itself, or the readable files of a folder, by name.

    kinds: how the name of a readable file ends.

    Raises:
        UserError: there is none.
    """
    allowed = ", ".join(kinds)
    if data.is_dir():
        return list_files(data, setting="--data", kinds=kinds)
    if not data.is_file():
        raise UserError(f"--data {data}: there is no such file; give one of {allowed}, or a folder")
    if not data.name.lower().endswith(kinds):
        raise UserError(f"--data {data}: the name of the file must end in one of {allowed}")
    return [data]


def read_rows(files: Sequence[Path]) -> TuningRows:
    """All rows of the files.

    Raises:
        UserError: a file cannot be read to its end, or no row has one of the three forms.
    """
    found = TuningRows([], [])
    for one in _instructions(files):
        if isinstance(one, BadLine):
            found.bad_lines.append(one)
        else:
            found.rows.append(raw_row(one, PHASE))
    if not found.rows:
        names = ", ".join(map(str, files))
        because = f": {found.bad_examples}" if found.bad_lines else ""
        raise UserError(
            f"--data {names}: none of {len(found.bad_lines)} rows can be used{because}; "
            f"a row is {FORMS}"
        )
    return found


def _instructions(files: Sequence[Path]) -> Iterator[Instruction | BadLine]:
    for file in files:
        for row in read_file(file, texts=COLUMNS):
            yield row if isinstance(row, BadLine) else _instruction(row)


def _instruction(row: RawRow) -> Instruction | BadLine:
    if form_of(row.values) is None:
        keys = ", ".join(map(str, row.values)) or "nothing"
        return BadLine(row.file, row.line, f"none of the three forms, it has {keys}")
    return raw_instruction(row, phase_of(row.values) or PHASE)


def prepare(found: TuningRows, encode: Encode, settings: TuneParams, *, sized: bool) -> None:
    """Drop what cannot be learned from, encode the others, and hold some of them out.

    sized: whether the number of held-out rows follows from the number of rows.

    Raises:
        UserError: so few rows are left that none can be held out.
    """
    rows = found.rows
    drop_broken(rows)
    drop_languages(rows, settings.language)
    drop_duplicate_rows(rows, set())
    with Progress(total=len(rows), desc="tune, rows", unit="rows") as bar:
        for batch in in_batches(rows):
            drop_long(batch, encode, most=settings.max_tokens)
            bar.update(len(batch))
    left = sum(1 for _ in alive(rows))
    number = held_out_of(left) if sized else settings.heldout_rows
    if left > 1:
        # Rows like one's own are what the model will be asked, so the same facts may come again.
        split_rows(rows, number, settings.near_duplicate, seed=settings.seed, facts=False)
    counts = found.counts
    if not counts["train"] or not counts["heldout"]:
        dropped = ", ".join(f"{reason} {count}" for reason, count in found.dropped.items())
        raise UserError(
            f"--data: {left} of {counts['read']} rows are left (dropped: {dropped or 'none'}), of "
            f"which {number} cannot be held out; bring more rows that differ, or lower heldout_rows"
        )
