"""What is known of every document: one small row each, while the texts stay in the shards."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from diffutron.data.labels import Labels
from diffutron.data.shards import Cleaned, list_chunks, read_shard
from diffutron.errors import UserError

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
LABELS = ("file", "source", "group", "reason", "rule", "contaminated")
ROW_GROUP = 5000  # rows of a parquet file that are written together, whatever the shards
OPEN_SHARDS = 32  # mapped at once when texts are looked up
SCHEMA = pa.schema(
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


@dataclass
class Fates:
    """Columns of all documents, in the order of the input.

    `reason` is empty for a kept document, `cluster` is shared by documents linked as duplicates,
    `instead` is the kept document for which a duplicate was dropped (-1: none), `split` is train,
    heldout or empty.
    """

    paths: list[Path]
    shard: NDArray[np.int32]
    row: NDArray[np.int32]
    line: NDArray[np.int64]
    file: Labels
    source: Labels
    group: Labels
    reason: Labels
    rule: Labels
    contaminated: Labels
    num_tokens: NDArray[np.int64]
    num_words: NDArray[np.int64]
    num_characters: NDArray[np.int64]
    key: NDArray[np.uint64]
    bands: NDArray[np.uint64]  # on disk; of the documents that the first half kept, in their order
    cluster: NDArray[np.int64] = field(init=False)
    instead: NDArray[np.int64] = field(init=False)
    split: Labels = field(init=False)
    cluster_sizes: Counter[int] = field(default_factory=Counter)

    @classmethod
    def load(cls, cleaned: Sequence[Cleaned], folder: Path) -> "Fates":
        """Read the shards; the band keys, most of what there is, go to a file in `folder`."""
        columns: dict[str, list[Any]] = {}
        for number, shard in enumerate(cleaned):
            for name, values in _columns(read_shard(shard.path), number).items():
                columns.setdefault(name, []).append(values)
        labels: dict[str, Any] = {name: Labels.of(columns.pop(name, [])) for name in LABELS}
        names = list(columns)  # each column is let go as soon as it is in one piece
        arrays: dict[str, Any] = {name: np.concatenate(columns.pop(name)) for name in names}
        paths = [shard.path for shard in cleaned]
        bands = _bands_on_disk(paths, int(labels["reason"].are("").sum()), folder)
        return cls(paths, **labels, **arrays, bands=bands)

    def __post_init__(self) -> None:
        self.cluster = np.arange(len(self))
        self.instead = np.full(len(self), -1)
        self.split = Labels.empty(len(self))

    def __len__(self) -> int:
        return len(self.row)

    @property
    def kept(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.reason.are(""))

    def require_some(self, step: str) -> None:
        """Stop where a step left nothing.

        Raises:
            UserError: names the step and the commonest reasons.
        """
        if not self.reason.are("").any():
            found = self.reason.counts().most_common(3)
            most = ", ".join(f"{count} {reason}" for reason, count in found)
            raise UserError(
                f"corpus: no document is left after {step} (dropped: {most or 'none read'}); "
                "look at the thresholds in the section corpus and at the source"
            )

    def last_step(self) -> str:
        """Which of the steps that look at one document dropped last."""
        there = self.reason.counts()
        last = max((n for n, reason in enumerate(REASONS) if there[reason]), default=0)
        name = STEPS.get(REASONS[last], REASONS[last])
        return f"the steps that look at one document, {name} being the last to drop any"

    def texts(self) -> Callable[[int], str]:
        """The text of any document by its index, read from the shards when asked for."""

        @lru_cache(maxsize=OPEN_SHARDS)
        def texts_of(shard: int) -> pa.ChunkedArray:
            return read_shard(self.paths[shard]).column("text")

        return lambda index: texts_of(int(self.shard[index]))[int(self.row[index])].as_py()

    def write(self, path: Path) -> None:
        """What became of each document, as parquet without any text."""
        with pq.ParquetWriter(path, SCHEMA) as writer:
            for start in range(0, len(self), ROW_GROUP):
                writer.write_table(self._table(np.arange(start, min(start + ROW_GROUP, len(self)))))

    def _table(self, rows: NDArray[np.int64]) -> pa.Table:
        instead = self.instead[rows]
        none = instead < 0
        columns = [
            self.file.texts(rows),
            self.line[rows],
            self.source.texts(rows),
            self.reason.texts(rows),
            self.rule.texts(rows),
            self.split.texts(rows),
            self.num_tokens[rows].astype(np.int32),
            pa.array(self.file.texts(instead).to_numpy(zero_copy_only=False), mask=none),
            pa.array(self.line[instead], mask=none),
        ]
        return pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA)


def _columns(table: pa.Table, number: int) -> dict[str, Any]:
    """Copies, so that the shard need not stay mapped."""
    ids = list_chunks([table], "ids")
    tokens = [np.diff(chunk.offsets.to_numpy()) for chunk in ids] or [np.empty(0)]
    plain = {
        name: np.array(table.column(name).to_numpy(), np.int64) for name in ("line", "num_words")
    }
    characters = pc.call_function("utf8_length", [table.column("text")]).to_numpy()
    return {
        **plain,
        **{name: table.column(name).combine_chunks().dictionary_encode() for name in LABELS},
        "shard": np.full(len(table), number, np.int32),
        "row": np.arange(len(table), dtype=np.int32),
        "num_tokens": np.concatenate(tokens).astype(np.int64),
        "num_characters": characters.astype(np.int64),
        "key": np.array(table.column("key").to_numpy()),
    }


def _bands_on_disk(paths: Sequence[Path], kept: int, folder: Path) -> NDArray[np.uint64]:
    """The band keys [kept, bands], band after band in a file, since they are read band by band."""
    folder.mkdir(parents=True, exist_ok=True)
    keys: NDArray[np.uint64] = np.empty((0, 0), np.uint64)
    done = 0
    for path in paths:
        for chunk in list_chunks([read_shard(path)], "bands"):
            flat, rows = chunk.flatten().to_numpy(), int((np.diff(chunk.offsets) > 0).sum())
            if not rows:
                continue
            mine = flat.reshape(rows, -1)
            if not done:
                shape = (kept, mine.shape[1])
                keys = np.memmap(folder / "bands.u64", np.uint64, "w+", shape=shape, order="F")
            keys[done : done + rows] = mine
            done += rows
    return keys
