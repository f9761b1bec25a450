"""Executors: results in order and few in memory, and what is not installed is named."""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from functools import partial

import pytest

from diffutron.data.corpus import executors
from diffutron.data.corpus.document_steps import Cleaner, Recipe
from diffutron.data.corpus.executors import chosen_executor, clean_all, started
from diffutron.data.corpus.shards import ShardStore, batches, clean_batch, read_shard
from diffutron.data.sources.sources import Document
from diffutron.runtime.errors import UserError

TEXT = "Ayşe bugün okula gitti ve öğretmenine {} soru sordu, sonra eve döndü."


def documents(num: int, *, file: str = "a") -> list[Document]:
    return [Document(TEXT.format(n), "s", "g", file, n + 1) for n in range(num)]


@pytest.fixture
def recipe(make_params, tiny_tokenizer_dir):
    return Recipe.of(make_params().corpus, tiny_tokenizer_dir, [])


def texts(cleaned) -> list[str]:
    return [text for one in cleaned for text in read_shard(one.path)["text"].to_pylist()]


def test_batches_end_with_their_file():
    mixed = [*documents(5), *documents(3, file="b")]
    assert [[one.line for one in batch] for batch in batches(mixed, 2)] == [
        [1, 2],
        [3, 4],
        [5],
        [1, 2],
        [3],
    ]


def test_results_stand_in_order_and_few_batches_wait(recipe, tmp_path):
    store = ShardStore(tmp_path / "store", recipe.fingerprint)
    waiting: list[tuple[Future, Sequence[Document]]] = []
    most = 0

    def submit(batch):
        nonlocal most
        waiting.append((Future(), batch))
        most = max(most, len(waiting))
        if len(waiting) == 3:  # the last one first
            for future, one in reversed(waiting):
                future.set_result(clean_batch(one, recipe.cleaner()))
            waiting.clear()
        return _Waiting(waiting, recipe, len(waiting) - 1) if waiting else _done(batch, recipe)

    jobs = list(executors._in_order(store.jobs(documents(7), 1), submit, 2, store))
    found = [executors.ShardFile.at(job.path) for job in jobs]
    assert texts(found) == [one.text for one in documents(7)]
    assert most <= 3


class _Waiting:
    """A future that is filled when it is asked for, if it was not before."""

    def __init__(self, waiting, recipe, place):
        self.future, self.batch, self.recipe = *waiting[place], recipe

    def result(self) -> bytes:
        if not self.future.done():
            self.future.set_result(clean_batch(self.batch, self.recipe.cleaner()))
        return self.future.result()


def _done(batch, recipe):
    future: Future = Future()
    future.set_result(clean_batch(batch, recipe.cleaner()))
    return future


def test_shards_that_are_there_are_not_cleaned_again(recipe, tmp_path, monkeypatch):
    store = ShardStore(tmp_path, recipe.fingerprint)
    first = clean_all(documents(9), recipe, store=store, size=4, workers=1)
    monkeypatch.setattr(Cleaner, "clean", None)
    again = clean_all(documents(9), recipe, store=store, size=4, workers=1)
    assert again == first
    assert texts(again) == [one.text for one in documents(9)]
    (tmp_path / "old.arrow").write_bytes(b"x")
    with pytest.raises(UserError, match=r"old\.arrow is damaged .* delete it and run again"):
        executors.ShardFile.at(tmp_path / "old.arrow")
    store.prune(again)
    assert not (tmp_path / "old.arrow").exists()
    assert all(one.path.exists() for one in again)


def test_the_fingerprint_follows_what_decides(make_params, tiny_tokenizer_dir):
    of = partial(Recipe.of, tokenizer=tiny_tokenizer_dir, items=[])
    one = of(make_params().corpus).fingerprint
    for key, value in [("boilerplate_documents", 3), ("quotas", {"a": 1}), ("digest", "x")]:
        assert of(make_params({f"corpus.{key}": value}).corpus).fingerprint == one
    assert of(make_params({"corpus.near_duplicate.threshold": 0.5}).corpus).fingerprint == one
    for key, value in [("min_tokens", 3), ("near_duplicate.bands", 3), ("language.kept", ["tr"])]:
        assert of(make_params({f"corpus.{key}": value}).corpus).fingerprint != one


def test_the_option_or_else_the_machine_says_who_cleans(monkeypatch):
    monkeypatch.delenv("DIFFUTRON_EXECUTOR", raising=False)
    assert chosen_executor(None) == "local"
    monkeypatch.setenv("DIFFUTRON_EXECUTOR", "slurm")
    assert [chosen_executor(given) for given in (None, "ray")] == ["slurm", "ray"]
    monkeypatch.setenv("DIFFUTRON_EXECUTOR", "spark")
    with pytest.raises(UserError, match="^DIFFUTRON_EXECUTOR='spark': choose one of local, ray, s"):
        chosen_executor(None)


def test_the_fingerprint_sees_every_module_that_cleans_a_document(
    make_params, tiny_tokenizer_dir, tmp_path
):
    """What a new process has imported after it has cleaned documents."""
    code = """
import sys
from pathlib import Path
from diffutron.config.params import load_params
from diffutron.data.corpus.document_steps import DECIDING_CODE, PACKAGE, Recipe
from diffutron.data.corpus.shards import clean_batch
from diffutron.data.matching.decontaminate import Item
from diffutron.data.sources.sources import Document
recipe = Recipe.of(load_params(Path(sys.argv[1])).corpus, Path(sys.argv[2]), [Item("a", ())])
text = "Ayşe bugün okula gitti ve öğretmenine bir soru sordu, sonra eve döndü. " * 3
clean_batch([Document(text + name, "s", "g", "f", 1) for name in ("bir", "iki")], recipe.cleaner())
files = [Path(m.__file__) for n, m in sys.modules.items() if n.startswith("diffutron.")]
decide = {file for name in DECIDING_CODE for file in (PACKAGE / name).glob("*.py")}
ground = [PACKAGE / name for name in ("config", "runtime")]
missing = [f for f in files if f.name != "__init__.py" and f not in decide]
print([str(f) for f in missing if f.parent not in ground], len(decide & set(files)))
"""
    numbers = tmp_path / "params.yaml"
    numbers.write_text(make_params().model_dump_json(by_alias=True), encoding="utf-8")
    command = [sys.executable, "-c", code, numbers, tiny_tokenizer_dir]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    missing, number = done.stdout.rsplit(maxsplit=1)
    assert missing == "[]"
    assert int(number) >= 10  # the steps, their rules of text, the readers of the sources


@pytest.mark.parametrize(("kind", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_what_is_not_installed_is_named(recipe, monkeypatch, kind, package):
    monkeypatch.setitem(sys.modules, package, None)
    with (
        pytest.raises(UserError, match=f"--executor {kind} needs .*diffutron\\[{kind}\\]"),
        started(kind, recipe),
    ):
        pass


def test_a_helper_that_is_ended_from_outside_is_named(recipe, monkeypatch):
    class Pool:
        def __init__(self, *settings, **more):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def submit(self, *call):
            raise BrokenProcessPool("ended")

    monkeypatch.setattr(executors, "ProcessPoolExecutor", Pool)
    with (
        pytest.raises(UserError, match="helping process .* was ended from outside"),
        started("local", recipe, workers=2) as (submit, _),
    ):
        submit(documents(1))


@pytest.mark.slow
def test_ray_gives_the_same_bytes(recipe, tmp_path):
    ray = pytest.importorskip("ray", reason="pip install 'diffutron[ray]'")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        stores = [ShardStore(tmp_path / kind, recipe.fingerprint) for kind in ("local", "ray")]
        local, there = (
            clean_all(documents(20), recipe, store=store, size=3, kind=kind, workers=1)
            for store, kind in zip(stores, ("local", "ray"), strict=True)
        )
    finally:
        ray.shutdown()
    assert [one.path.name for one in local] == [one.path.name for one in there]
    assert [one.path.read_bytes() for one in local] == [one.path.read_bytes() for one in there]
