"""Rows of the files of a folder, read as bytes, so that one bad line never costs its neighbors.

Kinds: JSON lines (plain, .gz, .zst), parquet, plain text (a document is a block of lines; an
empty line ends it); from the hub also a JSON array, and tables of comma or tab separated values.
"""

import codecs
import io
import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import ArrowInvalid

from diffutron.runtime.errors import UserError
from diffutron.runtime.json_lines import NotJson, parse_lines

COMPRESSION = {".gz": "gzip", ".zst": "zstd"}
KINDS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".txt")
READABLE = (*KINDS, ".json", ".json.gz", ".csv", ".tsv")


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


def list_files(folder: Path, *, setting: str) -> list[Path]:
    """The readable files of `folder`, sorted by name.

    Raises:
        UserError: the folder is absent or holds none; the message names `setting`.
    """
    if not folder.is_dir():
        raise UserError(f"{setting}: folder {folder} does not exist; create it or choose another")
    files = sorted(path for path in folder.iterdir() if path.name.endswith(KINDS))
    if not files:
        raise UserError(f"{setting}: folder {folder} holds no file of {', '.join(KINDS)}")
    return files


def read_file(path: Path, *, columns: Collection[str] = ()) -> Iterator[RawRow | BadLine]:
    """The rows of one file in order; `file` of each is the file's name.

    columns: what is read of a parquet file, as far as it is there; all by default.

    Raises:
        UserError: the file is empty, truncated or not what its name says.
    """
    with _readable(path):
        if path.suffix == ".parquet":
            yield from _parquet_rows(path, columns)
        elif path.suffix == ".txt":
            yield from _text_blocks(path)
        elif path.suffix in (".csv", ".tsv"):
            yield from _table_rows(path)
        elif ".json" in path.suffixes[-2:] and _holds_array(path):
            with _bytes_of(path) as stream:
                rows = json.loads(stream.read().decode("utf-8-sig"))
            yield from (_row(path, number, values) for number, values in enumerate(rows, 1))
        else:
            yield from _json_lines(path)


def count_rows(path: Path) -> int:
    """About how many rows `read_file` will yield: lines, or the number that a parquet file states.

    Raises:
        UserError: as `read_file`.
    """
    with _readable(path):
        if path.suffix == ".parquet":
            from pyarrow.parquet import read_metadata

            return read_metadata(path).num_rows
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
    except (OSError, ArrowInvalid, ValueError) as error:
        raise UserError(
            f"{path} cannot be read to its end ({' '.join(str(error).split())}); fetch it again or "
            "take it out"
        ) from error


def stamp(path: Path) -> tuple[int, int]:
    """What changes when a file is written to: its size and the time of the last change."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _bytes_of(path: Path) -> Any:
    return pa.input_stream(str(path), compression=COMPRESSION.get(path.suffix))


def _json_lines(path: Path) -> Iterator[RawRow | BadLine]:
    with _bytes_of(path) as stream:
        for number, values in parse_lines(io.BufferedReader(stream, 1 << 20)):
            yield _row(path, number, values)


def _row(path: Path, number: int, values: Any) -> RawRow | BadLine:
    if isinstance(values, NotJson):
        return BadLine(path.name, number, values.reason)
    if not isinstance(values, dict):
        return BadLine(path.name, number, f"a {type(values).__name__}, not an object")
    return RawRow(path.name, number, values)


def _holds_array(path: Path) -> bool:
    with _bytes_of(path) as stream:
        return stream.read(1000).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")


def _table_rows(path: Path) -> Iterator[RawRow]:
    from pyarrow.csv import ParseOptions, open_csv

    separator = "\t" if path.suffix == ".tsv" else ","
    options = ParseOptions(delimiter=separator, newlines_in_values=True)
    with open_csv(path, parse_options=options) as batches:
        yield from _batch_rows(path, batches)


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
                    yield RawRow(path.name, start, {"text": "".join(block)})
                block, broken, start = [], None, number + 1
                continue
            start = start if block else number
            try:
                block.append(line.decode("utf-8"))
            except UnicodeDecodeError as error:
                block.append("")
                broken = broken or BadLine(path.name, number, f"not UTF-8 (byte {error.start + 1})")


def _parquet_rows(path: Path, columns: Collection[str]) -> Iterator[RawRow]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if not columns or name in columns]
        yield from _batch_rows(path, file.iter_batches(batch_size=1000, columns=names))


def _batch_rows(path: Path, batches: Iterable[Any]) -> Iterator[RawRow]:
    rows = (values for batch in batches for values in batch.to_pylist())
    for number, values in enumerate(rows, 1):
        yield RawRow(path.name, number, values)
