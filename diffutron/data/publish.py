"""What the corpus stage leaves for the later ones: text as parquet, token ids as mapped arrays."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from diffutron.data.dedup import words
from diffutron.data.fates import ROW_GROUP, SPLITS, Fates
from diffutron.data.shards import read_shard
from diffutron.outputs import write_text

OUT_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("source", pa.string()),
        ("group", pa.string()),
        ("num_tokens", pa.int32()),
    ]
)


def publish(fates: Fates, work: Path, *, vocab_size: int) -> None:
    """`SPLIT.parquet`, `SPLIT_ids.npy`, `SPLIT_bounds.npy` for both splits, and `words.txt`."""
    kind = np.uint16 if vocab_size <= 2**16 else np.uint32
    for name in SPLITS:
        members = np.flatnonzero(fates.split.are(name))
        bounds = np.concatenate([[0], np.cumsum(fates.num_tokens[members])])
        np.save(work / f"{name}_bounds.npy", bounds.astype(np.int64))
        known: set[str] = set()
        with (
            (work / f"{name}_ids.npy").open("wb") as ids,
            pq.ParquetWriter(work / f"{name}.parquet", OUT_SCHEMA) as writer,
        ):
            _start_array(ids, kind, int(bounds[-1]))
            for table in _grouped(_members(fates, members)):
                tokens = table.column("ids").combine_chunks().flatten().to_numpy()
                ids.write(tokens.astype(kind).tobytes())
                writer.write_table(_published(table))
                if name == "train":
                    known.update(*map(words, table.column("text").to_pylist()))
        if name == "train":
            write_text(work / "words.txt", "".join(f"{word}\n" for word in sorted(known)))


def _start_array(stream: BinaryIO, kind: type[np.generic], length: int) -> None:
    """The head of a one-dimensional `.npy` file, so that the rest can follow piece by piece."""
    head = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(stream, head)


def _members(fates: Fates, members: NDArray[np.int64]) -> Iterator[pa.Table]:
    """The documents of a split, shard by shard."""
    bounds = np.searchsorted(fates.shard[members], np.arange(len(fates.paths) + 1))
    for path, start, end in zip(fates.paths, bounds, bounds[1:], strict=False):
        if end > start:
            table = read_shard(path).select(["text", "source", "group", "ids"])
            yield table.take(fates.row[members[start:end]])


def _grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of `ROW_GROUP`."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        while sum(map(len, waiting)) >= ROW_GROUP:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, ROW_GROUP).combine_chunks()
            waiting = [whole.slice(ROW_GROUP)]
    whole = pa.concat_tables(waiting) if waiting else None
    if whole:
        yield whole.combine_chunks()


def _published(table: pa.Table) -> pa.Table:
    texts = table.column("text").to_pylist()
    identity = [hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in texts]
    lengths = pc.call_function("list_value_length", [table.column("ids")])
    columns = [identity, table["text"], table["source"], table["group"], lengths]
    return pa.table(dict(zip(OUT_SCHEMA.names, columns, strict=True)), schema=OUT_SCHEMA)
