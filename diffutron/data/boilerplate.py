"""Lines that stand in many documents are no text of any of them: they are taken out."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diffutron.data.cleaning import Cleaner, drop_lines
from diffutron.data.shards import (
    SCHEMA,
    Cleaned,
    list_chunks,
    read_shard,
    shard_bytes,
    to_rows,
)
from diffutron.progress import track


def repeated_lines(cleaned: Sequence[Cleaned], *, most: int) -> NDArray[np.uint64]:
    """The keys of lines that stand in more than `most` documents, sorted."""
    columns = [
        np.array(lines.flatten().to_numpy())
        for shard in cleaned
        for lines in list_chunks([read_shard(shard.path)], "lines")
    ]
    if not columns:
        return np.empty(0, np.uint64)
    keys, counts = np.unique(np.concatenate(columns), return_counts=True)
    return keys[counts > most]


def drop_boilerplate(
    cleaned: Sequence[Cleaned], cleaner: Callable[[], Cleaner], *, most: int, folder: Path
) -> tuple[list[Cleaned], int]:
    """The shards without lines of more than `most` documents, and how many lines that took.

    A shard that changes is written to `folder` anew; the others are the ones given.
    """
    repeated = repeated_lines(cleaned, most=most)
    if not len(repeated):
        return list(cleaned), 0
    folder.mkdir(exist_ok=True)
    found, removed = [], 0
    for shard in track(cleaned, total=len(cleaned), desc="boilerplate", unit="shards"):
        table, lines = _without(read_shard(shard.path), repeated, cleaner())
        if lines:
            path = folder / shard.path.name
            path.write_bytes(shard_bytes(table, shard.edited))
            shard = Cleaned(path, shard.edited)
        found.append(shard)
        removed += lines
    return found, removed


def _without(
    table: pa.Table, repeated: NDArray[np.uint64], cleaner: Cleaner
) -> tuple[pa.Table, int]:
    touched = _touched(table, repeated)
    if not len(touched):
        return table, 0
    rows, removed, keys = to_rows(table.take(touched)), 0, frozenset(repeated.tolist())
    for row in rows:
        text = drop_lines(row.text, keys)
        removed += row.text.count("\n") - text.count("\n")
        row.text = text
    rows = cleaner.clean_again(rows)
    renewed = pa.table(
        {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}, schema=SCHEMA
    )
    place = np.arange(len(table))
    place[touched] = len(table) + np.arange(len(rows))
    plain = table.replace_schema_metadata(None)
    return pa.concat_tables([plain, renewed]).take(place).combine_chunks(), removed


def _touched(table: pa.Table, repeated: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The rows with such a line; a dropped document has no lines any more."""
    lines = table.column("lines").combine_chunks()
    offsets = lines.offsets.to_numpy()
    found = np.isin(lines.flatten().to_numpy(), repeated)
    before = np.concatenate([[0], np.cumsum(found)])
    first = offsets[0]
    return np.flatnonzero(np.diff(before[offsets - first]))
