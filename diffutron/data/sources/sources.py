"""Where raw text comes from: the hub, a local folder (`DIFFUTRON_DATA`) or the built-in sample.

A local folder holds `corpus/` (rows with `text` and, if known, `source` and `group`) and
`instruct/` (rows with instruction/input/output are phase 1, rows with Input/Output phase 2).
Everything here yields rows one by one; what cannot be used is yielded as a `BadLine`.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from diffutron.config.data_params import (
    CorpusParams,
    HubDataset,
    HubInstructions,
    InstructionsParams,
)
from diffutron.config.params import Params
from diffutron.data.sources import listing
from diffutron.data.sources.bad_rows import BadRows
from diffutron.data.sources.hub_rows import open_split
from diffutron.data.sources.instruction_schemas import (
    COLUMNS,
    Instruction,
    instruction_of,
    phase_of,
)
from diffutron.data.sources.licenses import OURS, License, license_of
from diffutron.data.sources.row_readers import (
    BadLine,
    RawRow,
    count_rows,
    list_files,
    name_of,
    read_file,
    stamp,
)
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import file_digest
from diffutron.runtime.json_lines import is_unicode
from diffutron.text.normalize import normalize

SUBFOLDERS = {
    "corpus": ("corpus",),
    "instructions": ("instruct",),
    "evaluate": ("cetvel", "writings"),
}


@dataclass(frozen=True, slots=True)
class Document:
    """One raw text from `file`, `line`. Quotas are drawn from a `group` of sources."""

    text: str
    source: str
    group: str
    file: str
    line: int


R = TypeVar("R", Document, Instruction)


def read_texts(params: Params) -> Iterator[str]:
    """The normalized texts that a scratch tokenizer is trained on: documents, then instructions,
    so that the words of prompts and labels are tokens too.
    """
    bad_rows = BadRows("corpus", max_bad_share=params.corpus.max_bad_share)
    for document in bad_rows.sift(raw_documents(params.corpus, seed=params.seed)):
        yield normalize(document.text)
    for phase in (1, 2):
        asked = BadRows("instructions", max_bad_share=params.instructions.max_bad_share)
        for row in asked.sift(raw_instructions(params.instructions, phase, seed=params.seed)):
            yield normalize(f"{row.prompt} {row.answer}")


def raw_documents(params: CorpusParams, *, seed: int) -> Iterator[Document | BadLine]:
    """Every raw document of `corpus.source`, in a fixed order."""
    if params.source == "sample":
        from diffutron.sample import documents

        for line, row in enumerate(documents(seed=seed), 1):
            yield Document(row["text"], row["source"], row["group"], "sample", line)
    elif params.source == "local":
        listed = listing.entries(local_folder("corpus")[0])
        for file in _local_files("corpus", params.digest):
            entry = listing.entry_of(file, listed)
            needed = [entry.fields.get(name, name) for name in listing.FIELDS]
            for row in read_file(file, columns=needed, texts=needed):
                yield document_of(row, entry)
    else:
        if not params.hub:
            raise UserError("corpus.hub names no data set; list some, or change corpus.source")
        for entry in params.hub:
            found = open_split(entry, setting="corpus.hub")
            for row in found.with_fields(entry.field, limit=entry.limit):
                if isinstance(row, BadLine):
                    yield row
                else:
                    fields = {"text": entry.field}
                    yield _document(row, fields=fields, source=entry.name, group=entry.group)


def raw_instructions(
    params: InstructionsParams, phase: int, *, seed: int
) -> Iterator[Instruction | BadLine]:
    """Every raw row of one phase's instruction set, in a fixed order."""
    if params.source == "sample":
        from diffutron.sample import instructions

        for line, row in enumerate(instructions(phase, seed=seed), 1):
            yield raw_instruction(RawRow("sample", line, dict(row)), phase)
    elif params.source == "local":
        listed = listing.entries(local_folder("instructions")[0])
        for file in _local_files("instructions", params.digest):
            entry = listing.entry_of(file, listed)
            for row in _of_phase(read_file(file, columns=COLUMNS, texts=COLUMNS), phase):
                translation = not isinstance(row, BadLine) and entry.translates(row.source)
                yield replace(row, translation=True) if translation else row
    else:
        entry = params.phase1 if phase == 1 else params.phase2
        found = open_split(entry, setting=f"instructions.phase{phase}")
        for row in found.rows(limit=entry.limit):
            yield row if isinstance(row, BadLine) else _hub_instruction(row, phase, entry)


def _of_phase(rows: Iterable[RawRow | BadLine], phase: int) -> Iterator[Instruction | BadLine]:
    """The rows of a phase. One that is of neither counts once: for the phase of the row before it
    in its file, else of the first that has one, else for phase 1."""
    last, waiting = None, list[BadLine]()
    for row in rows:
        own = None if isinstance(row, BadLine) else phase_of(row.values)
        found = row if isinstance(row, BadLine) else raw_instruction(row, own or phase)
        if own is None and last is None and isinstance(found, BadLine):
            waiting.append(found)
            continue
        last = own or last
        if last == phase:
            yield from waiting
            yield found
        waiting = []
    if phase == 1:
        yield from waiting


def document_of(row: RawRow | BadLine, entry: listing.Entry = listing.ANY) -> Document | BadLine:
    """The document of a row of a local file, by what `sources.yaml` says of the file."""
    if isinstance(row, BadLine):
        return row
    return _document(row, fields=entry.fields, source=entry.name, group=entry.drawn_from)


def _document(
    row: RawRow, *, fields: Mapping[str, str], source: str | None, group: str | None
) -> Document | BadLine:
    values = row.values
    field = fields.get("text", "text")
    text = values.get(field)
    if not isinstance(text, str):
        what = f"no field {field!r}" if field not in values else f"{field!r} is not a text"
        return BadLine(row.file, row.line, what)
    source = source or values.get(fields.get("source", "source")) or row.file.split(".")[0]
    group = group or values.get(fields.get("group", "group")) or source
    if not isinstance(source, str) or not isinstance(group, str):
        return BadLine(row.file, row.line, "'source' or 'group' is not a text")
    return _encodable(Document(text, source, group, row.file, row.line), text, source, group)


def raw_instruction(row: RawRow, phase: int, *, source: str | None = None) -> Instruction | BadLine:
    """The instruction of a row of any of the three forms, if it is Unicode text."""
    found = instruction_of(row, phase, source=source)
    if isinstance(found, BadLine):
        return found
    return _encodable(found, found.prompt, found.answer, found.source)


def _hub_instruction(row: RawRow, phase: int, entry: HubInstructions) -> Instruction | BadLine:
    if lost := [theirs for theirs in entry.fields.values() if theirs not in row.values]:
        raise UserError(
            f"instructions.phase{phase}.fields: {entry.name} has no field {lost[0]!r}; it has "
            f"{', '.join(row.values)}"
        )
    ours = {ours: row.values[theirs] for ours, theirs in entry.fields.items()}
    found = raw_instruction(replace(row, values=row.values | ours), phase, source=entry.name)
    if entry.translation and not isinstance(found, BadLine):
        return replace(found, translation=True)
    return found


def _encodable(found: R, *texts: str) -> R | BadLine:
    if all(map(is_unicode, texts)):
        return found
    return BadLine(found.file, found.line, "not Unicode text (half of a surrogate pair)")


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
        described = folder / listing.NAME
        files = list_files(folder, setting=f"{section}.source")
        for file in [*files, described] if described.exists() else files:
            digest.update(f"{folder.name}/{name_of(file)}:{file.stat().st_size}:".encode())
            digest.update(bytes.fromhex(file_digest(file)))
    return digest.hexdigest()


def count_raw(params: CorpusParams | InstructionsParams) -> int | None:
    """About how many documents or rows there are to read, where that can be known beforehand."""
    section = _section(params)
    if params.source == "sample":
        return None
    if params.source == "local":
        files = list_files(local_folder(section)[0], setting=f"{section}.source")
        return sum(map(count_rows, files))
    total = 0
    for setting, entry in _hub_sets(params):
        promised = open_split(entry, setting=setting).promised
        if promised is None and entry.limit is None:
            return None
        total += min(count for count in (promised, entry.limit) if count is not None)
    return total


def _section(params: CorpusParams | InstructionsParams) -> str:
    return "corpus" if isinstance(params, CorpusParams) else "instructions"


def _hub_sets(
    params: CorpusParams | InstructionsParams,
) -> Sequence[tuple[str, HubDataset | HubInstructions]]:
    """The setting and the place of each set that is read from the hub."""
    if isinstance(params, CorpusParams):
        return [("corpus.hub", entry) for entry in params.hub]
    return [("instructions.phase1", params.phase1), ("instructions.phase2", params.phase2)]


def licenses_of(params: CorpusParams | InstructionsParams) -> list[License]:
    """The license of each source, as far as `sources.yaml` or `corpus.hub` states it."""
    if params.source == "sample":
        return [license_of("sample", OURS)]
    if params.source == "hub":
        return [license_of(entry.name, entry.license) for _, entry in _hub_sets(params)]
    section = _section(params)
    folder = local_folder(section)[0]
    listed = listing.entries(folder)
    files = list_files(folder, setting=f"{section}.source")
    found = ((file, listing.entry_of(file, listed)) for file in files)
    named = (
        license_of(one.name or name_of(file).split(".")[0], one.license, commercial=one.commercial)
        for file, one in found
    )
    return list(dict.fromkeys(named))


def quotas_of(params: CorpusParams) -> dict[str, int]:
    """Quotas by group, with those of a local `sources.yaml`."""
    listed = listing.entries(local_folder("corpus")[0]) if params.source == "local" else []
    return listing.quotas_of(listed, params.quotas)


def _local_files(section: str, digest: str | None) -> Iterator[Path]:
    """The files of a section, one by one; each must still be as it was at the start."""
    folders = local_folder(section)
    known = {
        file: stamp(file)
        for folder in folders
        for file in list_files(folder, setting=f"{section}.source")
    }
    found = local_digest(section)
    if found != digest:
        was = "is not set" if digest is None else "does not fit the files in"
        where = "" if digest is None else f" {folders[0]}"
        raise UserError(f"{section}.digest {was}{where}: run `diffutron params` again")
    for file, before in known.items():
        yield file
        if stamp(file) != before:
            raise UserError(f"{file} changed while it was read; run again when it is complete")
