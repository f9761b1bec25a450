"""Rows of the files of a folder, read as bytes, so that one bad line never costs its neighbors.

Kinds: JSON lines (plain, .gz, .zst), parquet, and plain text (a document is a block of lines; an
empty line ends it).
"""

import codecs
import io
from collections.abc import Iterator
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


def read_file(path: Path) -> Iterator[RawRow | BadLine]:
    """The rows of one file in order; `file` of each is the file's name.

    Raises:
        UserError: the file is empty, truncated or not what its name says.
    """
    with _readable(path):
        if path.suffix == ".parquet":
            yield from _parquet_rows(path)
        elif path.suffix == ".txt":
            yield from _text_blocks(path)
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
    except (OSError, ArrowInvalid) as error:
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
            if isinstance(values, NotJson):
                yield BadLine(path.name, number, values.reason)
            elif isinstance(values, dict):
                yield RawRow(path.name, number, values)
            else:
                yield BadLine(path.name, number, f"a {type(values).__name__}, not an object")


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


def _parquet_rows(path: Path) -> Iterator[RawRow]:
    from pyarrow.parquet import ParquetFile

    number = 0
    with ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1000):
            for values in batch.to_pylist():
                number += 1
                yield RawRow(path.name, number, values)
