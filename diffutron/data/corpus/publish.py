"""What the corpus stage leaves for the later ones: text as parquet, token ids as mapped arrays."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from diffutron.data.corpus.document_table import SPLITS, DocumentTable, grouped
from diffutron.data.corpus.shards import read_shard
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
                texts = part["text"].to_pylist()
                named = [
                    hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in texts
                ]
                columns = {
                    "id": pa.array(named),
                    **{name: part[name] for name in ("text", "source", "group")},
                    "num_tokens": pc.call_function("list_value_length", [part["ids"]]),
                }
                writer.write_table(pa.table(columns, schema=OUT_SCHEMA))
                end = int(ends[-1])
                if name == "train":
                    known = set().union(*map(words, texts))
                    table.db.add("vocabulary", pa.table({"word": list(known)}))
    with (work / "words.txt").open("w", encoding="utf-8") as stream:
        # Every word once, in the order of the code points.
        for batch in table.db.batches("select distinct word from vocabulary order by word"):
            stream.writelines(f"{word}\n" for word in batch["word"].to_pylist())


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
