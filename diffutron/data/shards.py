"""The per-document half of the corpus recipe, done shard by shard on any number of processes.

A shard is a fixed number of consecutive documents, so what it holds depends on the input and the
params alone. Its result is an Arrow file in the work folder; memory stays bounded by one shard a
process, whatever the size of the input.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa

from diffutron.data.cleaning import Cleaner, Row
from diffutron.data.sources import Document
from diffutron.progress import Progress

SHARD_DOCUMENTS = 5000
PROCESSES_FROM = 5  # shards; fewer are done before other processes have started

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
class Cleaned:
    """A shard on disk, and what was edited in it."""

    path: Path
    edited: Counter[str]


def write_shard(path: Path, rows: Sequence[Row]) -> None:
    columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        writer.write_table(pa.table(columns, schema=SCHEMA))


def read_shard(path: Path) -> pa.Table:
    """The table of a shard, mapped from disk."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def read_rows(path: Path) -> list[Row]:
    return [Row(**values) for values in read_shard(path).to_pylist()]


def clean_all(
    documents: Iterable[Document], cleaner: Callable[[], Cleaner], *, folder: Path
) -> list[Cleaned]:
    """Clean every document into shards in `folder`; other processes help where there are many."""
    batches = _batches(documents)
    tasks = ((batch, folder / f"{number:06d}.arrow") for number, batch in enumerate(batches))
    first = list(islice(tasks, PROCESSES_FROM))
    cleaned = []
    with Progress(total=None, desc="corpus", unit="documents") as bar:
        if len(first) < PROCESSES_FROM:
            here = cleaner()
            done = (_clean_shard(task, here) for task in first)
        else:
            done = _on_processes(chain(first, tasks), cleaner)
        for number, shard in done:
            bar.update(number)
            cleaned.append(shard)
    return cleaned


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    documents = iter(documents)
    while batch := list(islice(documents, SHARD_DOCUMENTS)):
        yield batch


Task = tuple[list[Document], Path]
_cleaner: Cleaner | None = None  # of a helping process


def _clean_shard(task: Task, cleaner: Cleaner | None = None) -> tuple[int, Cleaned]:
    batch, path = task
    cleaner = cleaner or _cleaner
    assert cleaner is not None
    rows, edited = cleaner.clean(batch)
    write_shard(path, rows)
    return len(batch), Cleaned(path, edited)


def _start_process(cleaner: Callable[[], Cleaner]) -> None:
    global _cleaner
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one process a core is enough
    _cleaner = cleaner()


def _on_processes(
    tasks: Iterable[Task], cleaner: Callable[[], Cleaner]
) -> Iterator[tuple[int, Cleaned]]:
    """Results in the order of the tasks; few tasks wait, so the input is not read far ahead."""
    workers = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start_process, initargs=(cleaner,)
    ) as pool:
        waiting: deque[Future[tuple[int, Cleaned]]] = deque()
        for task in tasks:
            waiting.append(pool.submit(_clean_shard, task))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def column(tables: Iterable[pa.Table], name: str) -> np.ndarray:
    """One plain column of all shards, one after the other."""
    return np.concatenate([table.column(name).to_numpy() for table in tables])


def list_chunks(tables: Sequence[pa.Table], name: str) -> list[pa.ListArray]:
    """The pieces of a list column, for work on their offsets and values."""
    return [chunk for table in tables for chunk in table.column(name).chunks]
