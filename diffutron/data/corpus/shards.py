"""ShardFile shards on disk: what the per-document half of the corpus recipe leaves for the joins.

Each source file is cut by itself every `shard_documents` rows. A shard is kept under a digest of
its raw documents and of the recipe, so a run that was killed goes on where it was, and after one
file more only the shards of that file are cleaned. Memory stays bounded by a few shards.
"""

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

import pyarrow as pa

from diffutron.data.corpus.document_steps import Cleaner, Row
from diffutron.data.sources.sources import Document
from diffutron.runtime.errors import UserError

SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("source", pa.string()),
        ("group", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("reason", pa.string()),  # empty: kept so far
        ("rule", pa.string()),
        ("ids", pa.list_(pa.uint32())),
        ("num_words", pa.int32()),
        ("key", pa.uint64()),
        ("bands", pa.list_(pa.uint64())),
        ("contaminated", pa.string()),
        ("lines", pa.list_(pa.uint64())),
    ]
)


@dataclass(frozen=True)
class ShardFile:
    """A shard on disk, and what was edited in it."""

    path: Path
    edited: Counter[str]

    @classmethod
    def at(cls, path: Path) -> "ShardFile":
        try:
            with pa.memory_map(str(path)) as source:
                reader = pa.ipc.open_file(source)
                edited = Counter[str]()
                for place in range(reader.num_record_batches):
                    _, told = reader.get_batch_with_custom_metadata(place)
                    edited.update(json.loads(told[b"edited"]))
        except pa.ArrowInvalid as error:
            raise UserError(f"{path} is damaged ({error}); delete it and run again") from error
        return cls(path, edited)


@dataclass(frozen=True)
class ShardJob:
    """The place of a shard; `batch` is empty where the shard is there already."""

    path: Path
    num: int
    batch: Sequence[Document] = ()


class ShardStore:
    """A folder of shards, each named by a digest of what it was made from."""

    def __init__(self, folder: Path, fingerprint: str):
        self.folder, self.fingerprint = folder, fingerprint

    def jobs(self, documents: Iterable[Document], size: int) -> Iterator[ShardJob]:
        """One job a shard, in the order of the input."""
        for batch in batches(documents, size):
            path = self.folder / f"{batch_digest(batch, self.fingerprint)}.arrow"
            yield ShardJob(path, len(batch), () if path.exists() else batch)

    def write(self, path: Path, content: bytes) -> None:
        """Complete or absent: another file, flushed, then renamed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        try:
            with part.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def prune(self, used: Iterable[ShardFile]) -> None:
        """Remove the shards of inputs and recipes that are no more."""
        names = {shard.path.name for shard in used}
        for path in self.folder.glob("*.arrow"):
            if path.name not in names:
                path.unlink()
        for path in self.folder.glob("*.part"):
            path.unlink()


def batches(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    """Consecutive documents of one file, at most `size` of them."""
    for _, mine in groupby(documents, key=lambda document: document.file):
        while batch := list(islice(mine, size)):
            yield batch


def batch_digest(batch: Sequence[Document], fingerprint: str) -> str:
    digest = hashlib.blake2b(fingerprint.encode(), digest_size=20)
    for one in batch:
        text = one.text.encode()
        place = f"\0{one.file}\0{one.line}\0{one.source}\0{one.group}\0{len(text)}\0"
        digest.update(place.encode())
        digest.update(text)
    return digest.hexdigest()


def clean_batch(batch: Sequence[Document], cleaner: Cleaner) -> bytes:
    """A batch of raw documents as the bytes of its shard."""

    def tables() -> Iterator[tuple[pa.Table, Counter[str]]]:
        for part in cleaner.parts(batch):
            rows, edited = cleaner.clean(part)
            yield to_table(rows), edited

    return shard_bytes(tables())


def shard_bytes(tables: Iterable[tuple[pa.Table, Counter[str]]]) -> bytes:
    """Tables of a shard and what was edited in each, one after the other: a table may be forgotten
    before the next one is made."""
    sink = io.BytesIO()  # gives its bytes away without a copy
    with pa.ipc.new_file(sink, SCHEMA) as writer:
        for table, edited in tables:
            (rows,) = table.cast(SCHEMA).combine_chunks().to_batches()
            writer.write_batch(rows, {"edited": json.dumps(edited, sort_keys=True)})
    return sink.getvalue()


def read_shard(path: Path) -> pa.Table:
    """The table of a shard, mapped from disk."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def to_table(rows: Sequence[Row]) -> pa.Table:
    columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
    return pa.table(columns, schema=SCHEMA)


def to_rows(table: pa.Table) -> list[Row]:
    return [Row(**values) for values in table.to_pylist()]
