"""Runs of the corpus stage: the same bytes whoever does what when, and after every kill."""

import json
import random
import sys

import pytest

from diffutron.data.corpus import executors
from diffutron.data.corpus.shards import ShardStore
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import only_run

from .conftest import prose


def contents(out):
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


@pytest.mark.slow
def test_bytes_depend_on_neither_processes_nor_the_run(run_corpus, monkeypatch):
    alone = contents(run_corpus("alone", shard_documents=20))
    monkeypatch.setattr(executors, "PROCESSES_FROM", 2)
    assert contents(run_corpus("together", shard_documents=20, workers=2)) == alone


def test_shards_of_another_size_give_the_same_bytes(run_corpus):
    assert contents(run_corpus("one")) == contents(run_corpus("many", shard_documents=7))


def test_a_killed_run_goes_on_and_gives_the_same_bytes(run_corpus, planted, monkeypatch):
    whole = contents(run_corpus("whole", shard_documents=10))
    kept, write = [], ShardStore.write

    def die_at_the_fourth(store, path, content):
        if len(kept) == 3:
            path.with_suffix(".part").write_bytes(content[:100])  # as a kill would leave it
            raise KeyboardInterrupt
        kept.append(path)
        write(store, path, content)

    monkeypatch.setattr(ShardStore, "write", die_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        run_corpus("again", shard_documents=10)
    assert not (planted / "again").exists()
    (planted / ".again.abcd1234").mkdir()  # what a kill between the steps leaves
    written = []
    monkeypatch.setattr(ShardStore, "write", lambda *a: (written.append(a[1]), write(*a)))
    assert contents(run_corpus("again", shard_documents=10)) == whole
    assert not set(kept) & set(written)
    left = {path.name for path in planted.iterdir() if path.name.startswith(".again")}
    assert left == {".again.shards"}
    assert not list((planted / ".again.shards").glob("*.part"))


def test_one_file_more_cleans_only_its_shards(run_corpus, planted, monkeypatch):
    run_corpus(shard_documents=20)
    write, written = ShardStore.write, []
    monkeypatch.setattr(ShardStore, "write", lambda *a: (written.append(a[1]), write(*a)))
    row = json.dumps({"text": prose(random.Random(77))})
    (planted / "corpus" / "0.jsonl").write_text(row, encoding="utf-8")
    run_corpus(shard_documents=20)
    assert len(written) == 1
    run_corpus(shard_documents=20, boilerplate_documents=30, heldout_documents=9)  # joins alone
    assert len(written) == 1
    run_corpus(shard_documents=20, min_tokens=9)
    assert len(written) == 6
    assert len(list((planted / ".out.shards").glob("*.arrow"))) == 5  # older ones are gone


def test_an_executor_of_the_environment_is_the_one_that_is_asked(run_corpus, monkeypatch):
    monkeypatch.setenv("DIFFUTRON_EXECUTOR", "ray")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="--executor ray needs Ray"):
        run_corpus()


def test_a_second_run_in_the_same_folder_is_refused(run_corpus, planted):
    with only_run(planted / "out"), pytest.raises(UserError, match=r"another run is writing .*out"):
        run_corpus()
    assert run_corpus().is_dir()
