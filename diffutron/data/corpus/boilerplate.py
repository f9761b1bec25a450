"""Lines that stand in many documents are no text of any of them: they are taken out."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from diffutron.data.corpus.document_steps import Cleaner, drop_lines
from diffutron.data.corpus.shards import ShardFile, read_shard, shard_bytes, to_rows, to_table
from diffutron.data.matching.database import Database
from diffutron.runtime.progress import track

LINES = pa.schema([("line", pa.uint64())])


def drop_boilerplate(
    cleaned: Sequence[ShardFile],
    cleaner: Callable[[], Cleaner],
    db: Database,
    *,
    most: int,
    folder: Path,
) -> tuple[list[ShardFile], int]:
    """The shards without lines of more than `most` documents, and how many lines that took.

    A shard that changes is written to `folder` anew; the others are the ones given.
    """
    db.load("lines", (_lines(read_shard(shard.path)) for shard in cleaned), LINES)
    db.run(
        "create table repeated as select line from lines group by line having count(*) > ?", [most]
    )
    db.drop("lines")
    if not db.value("select count(*) from repeated"):
        return list(cleaned), 0
    folder.mkdir(exist_ok=True)
    found, removed = [], 0
    for shard in track(cleaned, total=len(cleaned), desc="boilerplate", unit="shards"):
        table = read_shard(shard.path)
        with db.arriving(_lines(table)):
            rows = db.rows("select distinct line from arriving semi join repeated using (line)")
        if keys := frozenset(line for (line,) in rows):
            table, lines = _without(table, keys, cleaner())
            path = folder / shard.path.name
            path.write_bytes(shard_bytes([(table, shard.edited)]))
            shard = ShardFile(path, shard.edited)
            removed += lines
        found.append(shard)
    return found, removed


def _lines(table: pa.Table) -> pa.RecordBatch:
    """The keys of the distinct lines of each document, one after the other."""
    return pa.record_batch([table["lines"].combine_chunks().flatten()], schema=LINES)


def _without(table: pa.Table, keys: frozenset[int], cleaner: Cleaner) -> tuple[pa.Table, int]:
    # The rows with such a line; a dropped document has no lines any more.
    lines = table.column("lines").combine_chunks()
    offsets = lines.offsets.to_numpy()
    found = np.isin(lines.flatten().to_numpy(), np.array([*keys], np.uint64))
    before = np.concatenate([[0], np.cumsum(found)])
    touched = np.flatnonzero(np.diff(before[offsets - offsets[0]]))
    rows, removed = to_rows(table.take(touched)), 0
    for row in rows:
        text = drop_lines(row.text, keys)
        removed += row.text.count("\n") - text.count("\n")
        row.text = text
    rows = cleaner.clean_again(rows)
    place = np.arange(len(table))
    place[touched] = len(table) + np.arange(len(rows))
    plain = table.replace_schema_metadata(None)
    return pa.concat_tables([plain, to_table(rows)]).take(place).combine_chunks(), removed
