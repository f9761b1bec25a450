"""What the corpus stage leaves for the later ones: text as parquet, token ids as mapped arrays."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diffutron.data.dedup import words
from diffutron.data.fates import Fates
from diffutron.data.shards import read_shard
from diffutron.outputs import write_text

SPLITS = ("train", "heldout")
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
        members = np.flatnonzero(fates.split == name)
        bounds = np.concatenate([[0], np.cumsum(fates.num_tokens[members])])
        np.save(work / f"{name}_bounds.npy", bounds.astype(np.int64))
        ids = np.lib.format.open_memmap(
            work / f"{name}_ids.npy", mode="w+", dtype=kind, shape=(int(bounds[-1]),)
        )
        known: set[str] = set()
        done = 0
        with pq.ParquetWriter(work / f"{name}.parquet", OUT_SCHEMA) as writer:
            for shard, path in enumerate(fates.paths):
                rows = fates.row[members[fates.shard[members] == shard]]
                table = read_shard(path).take(rows)
                tokens = table.column("ids").combine_chunks().flatten().to_numpy()
                ids[done : done + len(tokens)] = tokens
                done += len(tokens)
                writer.write_table(_published(table))
                if name == "train":
                    known.update(*map(words, table.column("text").to_pylist()))
        ids.flush()
        if name == "train":
            write_text(work / "words.txt", "".join(f"{word}\n" for word in sorted(known)))


def _published(table: pa.Table) -> pa.Table:
    texts = table.column("text").to_pylist()
    identity = [hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in texts]
    lengths = [len(ids) for ids in table.column("ids")]
    columns = [identity, table["text"], table["source"], table["group"], lengths]
    return pa.table(dict(zip(OUT_SCHEMA.names, columns, strict=True)), schema=OUT_SCHEMA)
