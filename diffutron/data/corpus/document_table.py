"""What is known of every document: a row in a table, while the texts stay in the shards."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from diffutron.data.corpus.shards import ShardFile, read_shard
from diffutron.data.matching.database import Database, Values
from diffutron.data.matching.dedup import BANDS, band_rows
from diffutron.runtime.errors import UserError

REASONS = (
    "bad_line",
    "language",
    "too_short",
    "too_long",
    "quality",
    "repetition",
    "boilerplate",
    "duplicate",
    "contaminated",
    "quota",
)
STEPS = {"too_short": "length", "too_long": "length"}  # where the reason is not the step's name
SPLITS = ("train", "heldout")
ROW_GROUP = 2000  # rows of a parquet file that are written together, whatever the shards
OPEN_SHARDS = 8  # mapped at once when texts are looked up
LABELS = ("file", "source", "quota_group", "reason", "rule", "contaminated")
DOCUMENTS = pa.schema(
    [
        ("index", pa.int64()),  # in the order of the input: shard after shard
        ("line", pa.int64()),
        *((name, pa.string()) for name in LABELS),
        ("num_tokens", pa.int32()),
        ("num_words", pa.int32()),
        ("num_characters", pa.int64()),
        ("key", pa.uint64()),
    ]
)
FATES = pa.schema(
    [
        ("file", pa.string()),
        ("line", pa.int64()),
        ("source", pa.string()),
        ("reason", pa.string()),
        ("rule", pa.string()),
        ("split", pa.string()),
        ("num_tokens", pa.int32()),
        ("instead_file", pa.string()),
        ("instead_line", pa.int64()),
    ]
)


class DocumentTable:
    """The table `documents` of a database, which the steps rewrite one after the other.

    `reason` is empty for a kept document, `cluster` is shared by documents linked as duplicates
    (the smallest index, whose key is `cluster_key`), `instead` is the kept document for which a
    duplicate was dropped, `split` is train, heldout or empty.
    """

    def __init__(self, db: Database, paths: Sequence[Path]):
        self.db, self.paths = db, list(paths)
        rows = [len(read_shard(path)) for path in self.paths]
        self.starts = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)])  # index in each shard

    @classmethod
    def load(cls, cleaned: Sequence[ShardFile], db: Database) -> "DocumentTable":
        """The tables `documents`, and `bands` of those that the first half kept."""
        table = cls(db, [shard.path for shard in cleaned])
        db.load("loaded", map(_documents, table.paths, table.starts), DOCUMENTS)
        db.run("""
            create table documents as
            select *, index as cluster, key as cluster_key, null::bigint as instead, '' as split
            from loaded
        """)
        db.drop("loaded")
        db.load("all_bands", map(_bands, table.paths, table.starts), BANDS)
        return table

    def rewrite(self, query: str, values: Values = ()) -> None:
        """Put what a query of `documents` answers in its place."""
        self.db.run(f"create table rewritten as {query}", values)
        self.db.drop("documents")
        self.db.run("alter table rewritten rename to documents")

    def count(self, of: str, *, where: str = "true") -> dict[Any, int]:
        """How many documents there are of each value of a column (or expression)."""
        query = f"select {of}, count(*) from documents where {where} group by all order by all"
        return dict(self.db.rows(query))

    def require_some(self, step: str) -> None:
        """Stop where a step left nothing.

        Raises:
            UserError: names the step and the commonest reasons.
        """
        found = self.count("reason")
        if not found.pop("", 0):
            commonest = sorted(found, key=found.__getitem__, reverse=True)[:3]
            most = ", ".join(f"{found[reason]} {reason}" for reason in commonest)
            raise UserError(
                f"corpus: no document is left after {step} (dropped: {most or 'none read'}); "
                "look at the thresholds in the section corpus and at the source"
            )

    def last_step(self) -> str:
        """Which of the steps that look at one document dropped last."""
        there = self.count("reason")
        last = max((n for n, reason in enumerate(REASONS) if reason in there), default=0)
        name = STEPS.get(REASONS[last], REASONS[last])
        return f"the steps that look at one document, {name} being the last to drop any"

    def texts(self) -> Callable[[int], str]:
        """The text of any document by its index, read from the shards when asked for."""

        @lru_cache(maxsize=OPEN_SHARDS)
        def texts_of(shard: int) -> pa.ChunkedArray:
            return read_shard(self.paths[shard]).column("text")

        def text(index: int) -> str:
            shard = int(np.searchsorted(self.starts, index, side="right")) - 1
            return texts_of(shard)[index - int(self.starts[shard])].as_py()

        return text

    def some_kept_texts(self, most: int) -> Iterator[str]:
        """At most so many kept documents, drawn by a hash of their text, in the order of input."""
        drawn = self.db.rows(
            """select index from (
                select index, key from documents where split <> '' order by key, index limit ?
            ) order by index""",
            [most],
        )
        return map(self.texts(), (index for (index,) in drawn))

    def write(self, path: Path) -> None:
        """What became of each document, as parquet without any text."""
        rows = self.db.batches("""
            select documents.file, documents.line, source, reason, rule, split, num_tokens,
                other.file as instead_file, other.line as instead_line
            from documents left join (
                select index, file, line from documents
                where index in (select instead from documents where instead is not null)
            ) other on other.index = instead
            order by documents.index
        """)
        with pq.ParquetWriter(path, FATES) as writer:
            for part in grouped(pa.Table.from_batches([batch]) for batch in rows):
                writer.write_table(part.cast(FATES))


def _documents(path: Path, start: int) -> pa.RecordBatch:
    table = read_shard(path)
    length = pc.call_function("list_value_length", [table["ids"]])
    columns = {
        "index": pa.array(np.arange(start, start + len(table))),
        "quota_group": table["group"],
        "num_tokens": length,
        "num_characters": pc.call_function("utf8_length", [table["text"]]),
    }
    rows = [columns[name] if name in columns else table[name] for name in DOCUMENTS.names]
    whole = pa.table(rows, names=DOCUMENTS.names).cast(DOCUMENTS).combine_chunks()
    return whole.to_batches()[0] if len(whole) else pa.RecordBatch.from_pylist([], DOCUMENTS)


def _bands(path: Path, start: int) -> pa.RecordBatch:
    """Of the documents that have bands: those that the first half kept."""
    table = read_shard(path)
    bands = table["bands"].combine_chunks()
    kept = np.flatnonzero(np.diff(bands.offsets.to_numpy()))
    keys = bands.flatten().to_numpy().reshape(len(kept), -1) if len(kept) else np.empty((0, 1))
    return band_rows(start + kept, table["num_words"].to_numpy()[kept], keys.astype(np.uint64))


def grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
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
