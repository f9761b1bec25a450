"""The database of the joins: what exceeds its memory goes to disk, and a full disk is one line."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from diffutron.data.matching import database as databases
from diffutron.data.matching.database import database
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import atomic_folder

SCHEMA = pa.schema([("index", pa.int64()), ("key", pa.uint64())])


def rows(batches: int, each: int = 50_000):
    numbers = np.random.default_rng(3)
    for number in range(batches):
        index = np.arange(number * each, (number + 1) * each)
        keys = numbers.integers(0, 2**63, each).astype(np.uint64)
        yield pa.record_batch([pa.array(index), pa.array(keys)], schema=SCHEMA)


def spilled(folder) -> int:
    return sum(path.stat().st_size for path in (folder / "spilled").glob("*"))


def test_a_sort_larger_than_the_memory_goes_through_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(databases, "MEMORY", "40MB")
    most, last, seen = 0, -1, 0
    with database(tmp_path / "db", threads=1) as db:
        db.load("many", rows(80), SCHEMA)
        for batch in db.batches("select key, index from many order by key"):
            most = max(most, spilled(tmp_path / "db"))
            keys = batch["key"].to_numpy()
            assert last <= int(keys[0])
            assert (np.diff(keys.astype(np.int64)) >= 0).all()
            last, seen = int(keys[-1]), seen + len(batch)
    assert seen == 80 * 50_000
    assert most > 10_000_000


def test_more_than_memory_and_disk_hold_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(databases, "MEMORY", "40MB")

    def sort_many():
        with database(tmp_path / "db", threads=1) as db:
            db.run("set max_temp_directory_size = '1MB'")
            db.load("many", rows(80), SCHEMA)
            list(db.batches("select key, index from many order by key"))

    with pytest.raises(UserError, match=r"cannot be compared in .*db \(.+\); free some disk"):
        sort_many()


@pytest.mark.parametrize("kind", [duckdb.IOException, duckdb.TransactionException])
def test_a_full_disk_is_an_error_of_the_system(tmp_path, kind):
    """DuckDB says it in several ways; the stage turns it into its one line."""
    with (
        pytest.raises(UserError, match=r"cannot write .*out: the disk is full"),
        atomic_folder(tmp_path / "out") as work,
        database(work / "db"),
    ):
        raise kind('Failed to commit: Could not write file "x.wal": No space left on device')


def test_a_mistake_of_ours_is_none_of_the_user():
    with pytest.raises(duckdb.Error), database() as db:
        db.run("select nothing from nowhere")


def test_queries_may_run_while_an_answer_is_read():
    with database() as db:
        db.load("many", rows(5), SCHEMA)
        db.run("create table seen (index bigint)")
        for batch in db.batches("select index from many order by index"):
            db.add("seen", pa.Table.from_batches([batch]))
        assert db.value("select count(*) from seen") == 250_000
        assert db.rows("select index from seen anti join many using (index)") == []
