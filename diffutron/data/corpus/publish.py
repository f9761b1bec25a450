"""What the corpus stage leaves for the later ones: text as parquet, token ids as mapped arrays."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from diffutron.data.corpus.document_table import SPLITS, DocumentTable, grouped
from diffutron.data.corpus.shards import read_shard
from diffutron.data.matching.database import Database
from diffutron.text.turkish import words

OUT_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("source", pa.string()),
        ("group", pa.string()),
        ("num_tokens", pa.int32()),
    ]
)


def publish(table: DocumentTable, work: Path, *, vocab_size: int) -> None:
    """`SPLIT.parquet`, `SPLIT_ids.npy`, `SPLIT_bounds.npy` for both splits, and `words.txt`."""
    kind = np.uint16 if vocab_size <= 2**16 else np.uint32
    sizes = table.db.rows("select split, count(*), sum(num_tokens) from documents group by split")
    counts = {split: (number, int(tokens)) for split, number, tokens in sizes}
    table.db.run("create table vocabulary (word varchar)")
    for name in SPLITS:
        number, tokens = counts.get(name, (0, 0))
        with (
            (work / f"{name}_bounds.npy").open("wb") as bounds,
            (work / f"{name}_ids.npy").open("wb") as ids,
            pq.ParquetWriter(work / f"{name}.parquet", OUT_SCHEMA) as writer,
        ):
            _start_array(bounds, np.int64, number + 1)
            _start_array(ids, kind, tokens)
            bounds.write(np.int64(0).tobytes())
            end = 0
            for part in grouped(_members(table, name)):
                rows = part["ids"].combine_chunks()
                ends = end + np.cumsum(np.diff(rows.offsets.to_numpy()), dtype=np.int64)
                bounds.write(ends.tobytes())
                ids.write(rows.flatten().to_numpy().astype(kind).tobytes())
                writer.write_table(_published(part))
                end = int(ends[-1])
                if name == "train":
                    _note_words(table.db, part["text"].to_pylist())
    _write_words(table.db, work / "words.txt")


def _start_array(stream: BinaryIO, kind: type[np.generic], length: int) -> None:
    """The head of a one-dimensional `.npy` file, so that the rest can follow piece by piece."""
    head = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(stream, head)


def _members(table: DocumentTable, split: str) -> Iterator[pa.Table]:
    """The documents of a split, shard by shard."""
    members = f"select index from documents where split = '{split}' order by index"
    for batch in table.db.batches(members):
        index = batch["index"].to_numpy()
        shards = np.searchsorted(table.starts, index, side="right") - 1
        for shard in np.unique(shards):
            part = read_shard(table.paths[shard]).select(["text", "source", "group", "ids"])
            yield part.take(index[shards == shard] - table.starts[shard])


def _note_words(db: Database, texts: Iterable[str]) -> None:
    known = set().union(*map(words, texts))
    db.add("vocabulary", pa.table({"word": list(known)}))


def _write_words(db: Database, path: Path) -> None:
    """Every word once, in the order of their code points."""
    with path.open("w", encoding="utf-8") as stream:
        for batch in db.batches("select distinct word from vocabulary order by word"):
            stream.writelines(f"{word}\n" for word in batch["word"].to_pylist())


def _published(table: pa.Table) -> pa.Table:
    texts = table.column("text").to_pylist()
    identity = [hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in texts]
    lengths = pc.call_function("list_value_length", [table.column("ids")])
    columns = [identity, table["text"], table["source"], table["group"], lengths]
    return pa.table(dict(zip(OUT_SCHEMA.names, columns, strict=True)), schema=OUT_SCHEMA)
