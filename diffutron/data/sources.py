"""Where raw text comes from: the hub, a local folder (`DIFFUTRON_DATA`) or the built-in sample.

A local folder holds `corpus/` (rows with `text` and, if known, `source` and `group`) and
`instruct/` (rows with instruction/input/output are phase 1, rows with Input/Output phase 2).
Everything here yields rows one by one; what cannot be used is yielded as a `BadLine`.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from diffutron.data.files import BadLine, RawRow, list_files, read_file
from diffutron.data.normalise import normalise
from diffutron.errors import UserError
from diffutron.params import CorpusParams, HubInstructions, InstructionsParams, Params

SUBFOLDERS = {
    "corpus": ("corpus",),
    "instructions": ("instruct",),
    "evaluation": ("cetvel", "writings"),
}
EXAMPLES = 5
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Document:
    """One raw text from `file`, `line`. Quotas are drawn from a `group` of sources."""

    text: str
    source: str
    group: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Instruction:
    """One raw instruction row of either schema: what the user says and the expected answer."""

    prompt: str
    answer: str
    source: str
    file: str
    line: int


R = TypeVar("R", Document, Instruction)


class Quarantine:
    """Counts rows, keeps what was wrong with the bad ones, and stops the stage at too many."""

    def __init__(self, section: str, *, max_bad_share: float):
        self.section, self.max_bad_share = section, max_bad_share
        self.read = 0
        self.bad: list[BadLine] = []

    def sift(self, rows: Iterable[T | BadLine]) -> Iterator[T]:
        """The usable rows.

        Raises:
            UserError: at the end, when more than `max_bad_share` of the rows were bad.
        """
        for row in rows:
            self.read += 1
            if isinstance(row, BadLine):
                self.bad.append(row)
            else:
                yield row
        self._judge()

    def _judge(self) -> None:
        if len(self.bad) > self.max_bad_share * self.read:
            examples = "; ".join(f"{b.file} line {b.line}: {b.why}" for b in self.bad[:EXAMPLES])
            raise UserError(
                f"{self.section}: {len(self.bad)} of {self.read} lines cannot be used, more than "
                f"{self.section}.max_bad_share = {self.max_bad_share} allows: {examples}; "
                "mend the files or raise the share"
            )
        if not self.read:
            raise UserError(f"{self.section}: the source holds no rows; see {self.section}.source")

    def report(self) -> dict[str, Any]:
        examples = [{"file": b.file, "line": b.line, "why": b.why} for b in self.bad[:EXAMPLES]]
        return {"read": self.read, "bad": len(self.bad), "examples": examples}


def read_texts(params: Params) -> Iterator[str]:
    """The normalised texts that a scratch tokenizer is trained on: documents, then instructions,
    so that the words of prompts and labels are tokens too.
    """
    quarantine = Quarantine("corpus", max_bad_share=params.corpus.max_bad_share)
    for document in quarantine.sift(read_documents(params.corpus, seed=params.seed)):
        yield normalise(document.text)
    for phase in (1, 2):
        asked = Quarantine("instructions", max_bad_share=params.instructions.max_bad_share)
        for row in asked.sift(read_instructions(params.instructions, phase, seed=params.seed)):
            yield normalise(f"{row.prompt} {row.answer}")


def read_documents(params: CorpusParams, *, seed: int) -> Iterator[Document | BadLine]:
    """Every raw document of `corpus.source`, in a fixed order."""
    if params.source == "sample":
        from diffutron.data.sample import documents

        for line, row in enumerate(documents(seed=seed), 1):
            yield Document(row["text"], row["source"], row["group"], "sample", line)
    elif params.source == "local":
        for row in _local_rows("corpus", params.digest):
            yield row if isinstance(row, BadLine) else _document(row)
    else:
        if not params.hub:
            raise UserError("corpus.hub names no data set; list some, or change corpus.source")
        for entry in params.hub:
            rows = hub_rows(entry.name, entry.config, entry.revision, entry.split, entry.field)
            for row in rows:
                found = _document(row, field=entry.field, source=entry.name, group=entry.group)
                yield found


def read_instructions(
    params: InstructionsParams, phase: int, *, seed: int
) -> Iterator[Instruction | BadLine]:
    """Every raw row of one phase's instruction set, in a fixed order."""
    if params.source == "sample":
        from diffutron.data.sample import instructions

        for line, row in enumerate(instructions(phase, seed=seed), 1):
            yield _instruction(RawRow("sample", line, dict(row)), phase)
    elif params.source == "local":
        for row in _local_rows("instructions", params.digest):
            if isinstance(row, BadLine):
                yield row
            elif _phase(row.values) in (phase, None):
                yield _instruction(row, phase)
    else:
        entry: HubInstructions = params.phase1 if phase == 1 else params.phase2
        field = "instruction" if phase == 1 else "Input"
        for row in hub_rows(entry.name, None, entry.revision, entry.split, field):
            yield _instruction(row, phase, source=entry.name)


def _document(
    row: RawRow, *, field: str = "text", source: str | None = None, group: str | None = None
) -> Document | BadLine:
    values = row.values
    text = values.get(field)
    if not isinstance(text, str):
        what = f"no field {field!r}" if field not in values else f"{field!r} is not a text"
        return BadLine(row.file, row.line, what)
    source = source or values.get("source") or row.file.split(".")[0]
    group = group or values.get("group") or source
    if not isinstance(source, str) or not isinstance(group, str):
        return BadLine(row.file, row.line, "'source' or 'group' is not a text")
    return _encodable(Document(text, source, group, row.file, row.line), text, source, group)


def _phase(values: dict[str, Any]) -> int | None:
    """Which phase a row's schema belongs to."""
    if "instruction" in values and "output" in values:
        return 1
    return 2 if "Input" in values and "Output" in values else None


def _instruction(row: RawRow, phase: int, *, source: str | None = None) -> Instruction | BadLine:
    values = row.values
    if _phase(values) != phase:
        return BadLine(row.file, row.line, "neither instruction/input/output nor Input/Output")
    source = source or values.get("source") or row.file.split(".")[0]
    names = ("instruction", "input", "output") if phase == 1 else ("Input", "Output")
    texts: list[Any] = [values.get(name) for name in names]
    if phase == 1 and texts[1] is None:
        texts[1] = ""  # alpaca rows without input leave it out or empty
    if not isinstance(source, str) or not all(isinstance(text, str) for text in texts):
        return BadLine(row.file, row.line, f"{', '.join(names)} and source must be texts")
    prompt = "\n".join(part for part in texts[:-1] if part.strip())
    found = Instruction(prompt, texts[-1], source, row.file, row.line)
    return _encodable(found, prompt, texts[-1], source)


def _encodable(found: R, *texts: str) -> R | BadLine:
    """JSON may carry halves of a surrogate pair, which no file can hold as UTF-8."""
    try:
        for text in texts:
            text.encode("utf-8")
    except UnicodeEncodeError:
        return BadLine(found.file, found.line, "not Unicode text (half of a surrogate pair)")
    return found


def local_folder(section: str) -> list[Path]:
    """The folders of `DIFFUTRON_DATA` that a section reads (only those that exist).

    Raises:
        UserError: the variable is not set, or none of them exists.
    """
    home = os.environ.get("DIFFUTRON_DATA")
    if not home:
        raise UserError(
            f"{section}.source is local but DIFFUTRON_DATA is not set; set it to the folder"
        )
    folders = [Path(home) / name for name in SUBFOLDERS[section]]
    found = [folder for folder in folders if folder.is_dir()]
    if not found:
        raise UserError(
            f"{section}.source is local but {folders[0]} does not exist; create it or set "
            "DIFFUTRON_DATA to another folder"
        )
    return found


def local_digest(section: str) -> str:
    """sha256 over the names and bytes of the local files that a section reads."""
    digest = hashlib.sha256()
    for folder in local_folder(section):
        files = list_files(folder, setting=f"{section}.source")
        for file in files:
            digest.update(f"{folder.name}/{file.name}:{file.stat().st_size}:".encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _local_rows(section: str, digest: str | None) -> Iterator[RawRow | BadLine]:
    folders = local_folder(section)
    found = local_digest(section)
    if found != digest:
        was = "is not set" if digest is None else "does not fit the files in"
        where = "" if digest is None else f" {folders[0]}"
        raise UserError(f"{section}.digest {was}{where}: run `diffutron params` again")
    for folder in folders:
        for file in list_files(folder, setting=f"{section}.source"):
            yield from read_file(file)


def hub_rows(
    name: str, config: str | None, revision: str, split: str, field: str
) -> Iterator[RawRow]:
    """The rows of a hub data set, streamed.

    Raises:
        UserError: no network, gated, missing, or a split without `field`.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    line = 0
    try:
        rows = load_dataset(name, config, revision=revision, split=split, streaming=True)
        for line, values in enumerate(rows, 1):
            if line == 1 and field not in values:
                fields = ", ".join(values)
                raise UserError(f"{name} has no field {field!r} but {fields}; change the params")
            yield RawRow(name, line, dict(values))
    except (OSError, ValueError, DatasetsError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"cannot read {name} (split {split}, revision {revision}) from the hub after {line} "
            f"rows: {reason}; check the network, HF_HUB_OFFLINE, the name and, for a gated set, "
            "`hf auth login`; or use source: local"
        ) from error
