"""The database in which documents are compared: DuckDB, which puts on disk what exceeds its memory.

Raasveldt, Muehleisen (2019). What is asked is ordered or counted, so that neither threads nor
the size of the memory change an answer.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import PythonUDFType
from duckdb.sqltypes import UBIGINT

from diffutron.runtime.errors import UserError

MEMORY = "512MB"  # of its buffers, whatever the input; sorts and groups of more go through the disk
ROWS = 100_000  # of an answer in memory at once


Values = Sequence[Any] | Mapping[str, Any]


class Database:
    """Tables by name: `load` makes one, `run` makes others of them, `batches` reads."""

    def __init__(self, connection: duckdb.DuckDBPyConnection):
        self.connection = connection

    def run(self, query: str, values: Values = ()) -> None:
        self.connection.execute(query, values)

    def function(self, name: str, compute: Callable[[pa.ChunkedArray], pa.Array]) -> str:
        """A function of a column of 64 bits, for queries; its name."""
        self.connection.create_function(name, compute, [UBIGINT], UBIGINT, type=PythonUDFType.ARROW)
        return name

    def load(self, table: str, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        """A table of these rows, which pass through memory a batch at a time."""
        with self.arriving(pa.RecordBatchReader.from_batches(schema, batches)):
            self.run(f"create table {table} as from arriving")

    def add(self, table: str, rows: pa.Table) -> None:
        """More rows for a table, of the same columns."""
        with self.arriving(rows):
            self.run(f"insert into {table} by name from arriving")

    def drop(self, *tables: str) -> None:
        """Give the disk of these tables back to those to come."""
        for table in tables:
            self.run(f"drop table if exists {table}")

    @contextmanager
    def arriving(self, rows: pa.Table | pa.RecordBatchReader) -> Iterator[None]:
        """Rows as the table `arriving`, for the queries in the block."""
        self.connection.register("arriving", rows)
        try:
            yield
        finally:
            self.connection.unregister("arriving")

    def rows(self, query: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """A small answer, whole."""
        return self.connection.execute(query, values).fetchall()

    def table(self, query: str, values: Values = ()) -> pa.Table:
        """A small answer as columns."""
        return self.connection.sql(query, params=values).to_arrow_table()

    def value(self, query: str, values: Values = ()) -> Any:
        """The one value that a query answers."""
        return self.rows(query, values)[0][0]

    def batches(self, query: str) -> Iterator[pa.RecordBatch]:
        """A large answer, about `ROWS` rows at a time; other queries may run meanwhile."""
        with self.connection.cursor() as cursor:
            yield from cursor.sql(query).to_arrow_reader(ROWS)


@contextmanager
def database(folder: Path | None = None, *, threads: int | None = None) -> Iterator[Database]:
    """An empty database, in a folder that it makes; without one, in memory (for a small input).

    Args:
        threads: None for the cores there are.

    Raises:
        OSError: the disk is full.
        UserError: the files cannot be read or written, or an answer needs more memory than allowed.
    """
    settings: dict[str, Any] = {
        "memory_limit": MEMORY,
        "threads": threads or len(os.sched_getaffinity(0)),
        "preserve_insertion_order": False,
    }
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        settings["temp_directory"] = str(folder / "spilled")
    place = folder / "documents.duckdb" if folder else ":memory:"
    try:
        with duckdb.connect(place, config=settings) as opened:
            yield Database(opened)
    except duckdb.Error as error:
        said = str(error).splitlines()[0]
        if os.strerror(errno.ENOSPC) in said:
            raise OSError(errno.ENOSPC, said, str(place)) from error
        if isinstance(error, (duckdb.IOException, duckdb.OutOfMemoryException)):
            raise UserError(
                f"the documents cannot be compared in {folder or 'memory'} ({said}); "
                "free some disk and run again"
            ) from error
        raise
