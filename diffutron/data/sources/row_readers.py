"""Rows of the files of a folder, read as bytes, so that one bad line never costs its neighbors.

Kinds: JSON lines, a JSON array, tables of comma or tab separated values, plain text (a document is
a block of lines; an empty line ends it), all of them plain, .gz or .zst; and parquet.
"""

import codecs
import io
import json
import os
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import ArrowException

from diffutron.runtime.errors import UserError
from diffutron.runtime.json_lines import NotJson, parse_lines

COMPRESSION = {".gz": "gzip", ".zst": "zstd"}
KINDS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".parquet") + tuple(
    ending + packed
    for ending in (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt")
    for packed in COMPRESSION
)
DESCRIBED = "sources.yaml"  # what may stand beside the files
READABLE = (
    *(".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".txt"),
    *(".json", ".json.gz", ".csv", ".tsv"),
)  # of the hub: what `datasets` knows, too
NAMED = 10  # of the entries of a folder that are not read
# What the conversion of one value to Python may raise, as for bytes that are no text.
_UNREADABLE = (
    *(ArrowException, ArithmeticError, LookupError, NotImplementedError, TypeError, ValueError),
)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line or row that cannot be used: where it stands and what is wrong with it."""

    file: str
    line: int
    why: str


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as the file has it. `line` counts from 1 (lines of a text file, rows of a parquet)."""

    file: str
    line: int
    values: dict[str, Any]


def name_of(path: Path) -> str:
    """The name of a file as text; names that are not UTF-8 mostly come from a Turkish Windows."""
    raw = os.fsencode(path.name)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1254", errors="replace")


def list_files(folder: Path, *, setting: str, kinds: tuple[str, ...] = KINDS) -> list[Path]:
    """The readable files of `folder`, sorted by name. One line names what is not read.

    kinds: how the name of a readable file ends, in letters of either case.

    Raises:
        UserError: the folder is absent or holds none, or a link leads nowhere; the message names
            `setting`.
    """
    if not folder.is_dir():
        raise UserError(f"{setting}: folder {folder} does not exist; create it or choose another")
    files: list[Path] = []
    passed: list[str] = []
    for path in sorted(folder.iterdir()):
        name, readable = name_of(path), name_of(path).lower().endswith(kinds)
        if path.is_symlink() and not path.exists():
            raise UserError(
                f"{setting}: {folder / name} is a link to {os.readlink(path)}, which is not there; "
                "fetch it, or take the link out of the folder"
            )
        if name == DESCRIBED:
            continue
        if name.startswith("."):
            passed += [f"{name} (hidden)"] if readable else []
        elif path.is_dir():
            passed.append(f"{name} (a folder)")
        elif path.is_file() and readable:
            files.append(path)
        else:
            passed.append(f"{name} (unknown kind)")
    more = f" and {len(passed) - NAMED} more" if len(passed) > NAMED else ""
    said = f"not read: {', '.join(passed[:NAMED])}{more}" if passed else ""
    if not files:
        raise UserError(
            f"{setting}: folder {folder} holds no file of {', '.join(kinds)}"
            + (f" ({said})" if said else "")
        )
    if said:
        _say_once(f"{folder}: {said}")
    return files


@cache
def _say_once(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def read_file(
    path: Path,
    *,
    columns: Collection[str] = (),
    texts: Collection[str] = (),
    field: str | None = None,
    separator: str | None = None,
) -> Iterator[RawRow | BadLine]:
    """The rows of one file in order; `file` of each is the file's name.

    Args:
        columns: What is read of a parquet file, as far as it is there; all by default.
        texts: Columns of a table that hold texts, also where all of them look like numbers.
        field: Of a JSON file that holds an object, the key of its list of rows.
        separator: Of a table; by default that of its kind.

    Raises:
        UserError: the file is empty, truncated or not what its name says.
    """
    form, _ = form_of(path)
    with _readable(path):
        if form == ".parquet":
            yield from _parquet_rows(path, columns)
        elif form == ".txt":
            yield from _text_blocks(path)
        elif form in (".csv", ".tsv"):
            yield from _table_rows(path, texts, separator)
        elif form == ".json" and (field or _holds_array(path)):
            with _bytes_of(path) as stream:
                rows = json.loads(stream.read().decode("utf-8-sig"))
            if field:
                rows = _listed(rows, field)
            yield from (_row(path, number, values) for number, values in enumerate(rows, 1))
        else:
            yield from _json_lines(path)


def form_of(path: Path) -> tuple[str, str | None]:
    """How the name of a file ends without what says that it is packed, and how it is packed."""
    name = path.name.lower()
    packed = next((ending for ending in COMPRESSION if name.endswith(ending)), "")
    return Path(name.removesuffix(packed)).suffix, COMPRESSION.get(packed)


def count_rows(path: Path) -> int:
    """About how many rows `read_file` will yield: lines, or the number that a parquet file states.

    Raises:
        UserError: as `read_file`.
    """
    with _readable(path):
        if form_of(path)[0] == ".parquet":
            from pyarrow.parquet import read_metadata

            return read_metadata(_openable(path)).num_rows
        count = 0
        with _bytes_of(path) as stream:
            while block := stream.read(1 << 20):
                count += block.count(b"\n")
        return max(count, 1)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty (0 bytes); fetch it again or take it out of the folder")
    try:
        yield
    except (OSError, EOFError, ArrowException, ValueError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be read to its end ({' '.join(str(error).split())}); fetch it again or "
            "take it out"
        ) from error


def stamp(path: Path) -> tuple[int, int]:
    """What changes when a file is written to: its size and the time of the last change."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _bytes_of(path: Path) -> Any:
    return pa.input_stream(_openable(path), compression=form_of(path)[1])


def _openable(path: Path) -> Any:
    """What Arrow can open: the path, or where its name is not UTF-8 the open file."""
    return str(path) if name_of(path) == path.name else path.open("rb")


def _json_lines(path: Path) -> Iterator[RawRow | BadLine]:
    with _bytes_of(path) as stream:
        for number, values in parse_lines(io.BufferedReader(stream, 1 << 20)):
            yield _row(path, number, values)


def _row(path: Path, number: int, values: Any) -> RawRow | BadLine:
    if isinstance(values, NotJson):
        return BadLine(name_of(path), number, values.reason)
    if not isinstance(values, dict):
        return BadLine(name_of(path), number, f"a {type(values).__name__}, not an object")
    return RawRow(name_of(path), number, values)


def _listed(values: Any, field: str) -> list[Any]:
    found = values.get(field) if isinstance(values, dict) else None
    if not isinstance(found, list):
        raise ValueError(f"there is no list of rows under the key {field!r}")
    return found


def _holds_array(path: Path) -> bool:
    with _bytes_of(path) as stream:
        return stream.read(1000).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")


def _table_rows(
    path: Path, texts: Collection[str], separator: str | None
) -> Iterator[RawRow | BadLine]:
    from pyarrow.csv import ConvertOptions, InvalidRow, ParseOptions, ReadOptions, open_csv

    bad: list[BadLine] = []

    def put_aside(row: InvalidRow) -> str:
        why = f"{row.actual_columns} values for {row.expected_columns} columns"
        bad.append(BadLine(name_of(path), row.number or 0, why))
        return "skip"

    options = ParseOptions(
        delimiter=separator or ("\t" if form_of(path)[0] == ".tsv" else ","),
        newlines_in_values=True,
        invalid_row_handler=put_aside,
    )
    # A text is checked when it is taken out, so that a bad one costs its row alone.
    types = ConvertOptions(check_utf8=False, column_types=dict.fromkeys(texts, pa.string()))
    with (
        _bytes_of(path) as stream,
        open_csv(
            stream,
            parse_options=options,
            convert_options=types,
            read_options=ReadOptions(use_threads=False),  # only then rows have numbers
        ) as batches,
    ):
        yield from _batch_rows(path, batches)
    yield from bad


def _text_blocks(path: Path) -> Iterator[RawRow | BadLine]:
    block: list[str] = []
    start, broken = 1, None
    with _bytes_of(path) as stream:
        # An empty line after the last one ends the last block.
        for number, line in enumerate(chain(io.BufferedReader(stream, 1 << 20), [b""]), 1):
            line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if not line.strip():
                if broken:
                    yield broken
                elif block:
                    yield RawRow(name_of(path), start, {"text": "".join(block)})
                block, broken, start = [], None, number + 1
                continue
            start = start if block else number
            try:
                block.append(line.decode("utf-8"))
            except UnicodeDecodeError as error:
                block.append("")
                broken = broken or BadLine(
                    name_of(path), number, f"not UTF-8 (byte {error.start + 1})"
                )


def _parquet_rows(path: Path, columns: Collection[str]) -> Iterator[RawRow | BadLine]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(_openable(path)) as file:
        names = [name for name in file.schema_arrow.names if not columns or name in columns]
        yield from _batch_rows(path, file.iter_batches(batch_size=1000, columns=names))


def _batch_rows(path: Path, batches: Iterable[Any]) -> Iterator[RawRow | BadLine]:
    number = 0
    for batch in batches:
        try:
            rows = batch.to_pylist()
        except _UNREADABLE:
            rows = [_values_or_fault(batch, index) for index in range(len(batch))]
        for values in rows:
            number += 1
            if isinstance(values, str):
                yield BadLine(name_of(path), number, values)
            else:
                yield RawRow(name_of(path), number, values)


def _values_or_fault(batch: Any, index: int) -> dict[str, Any] | str:
    """The values of one row of a batch, or which of them cannot be read."""
    values: dict[str, Any] = {}
    for name in batch.schema.names:
        try:
            values[name] = batch[name][index].as_py()
        except UnicodeDecodeError as error:
            return f"{name!r} is not UTF-8 (byte {error.start + 1})"
        except _UNREADABLE as error:
            return f"{name!r} cannot be read ({' '.join(str(error).split())[:200]})"
    return values
