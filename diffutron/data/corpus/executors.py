"""Who cleans the shards: this process and its helpers, a Ray cluster, or jobs of Slurm.

A batch goes out, the bytes of its shard come back, and only the stage itself writes: so workers
need the package and the tokenizer folder and share nothing else, and an order of results that
differs changes no byte.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from diffutron.data.corpus.document_steps import Recipe, cut_huge
from diffutron.data.corpus.shards import ShardFile, ShardJob, ShardStore, clean_batch
from diffutron.data.sources.sources import Document
from diffutron.runtime.errors import UserError
from diffutron.runtime.progress import Progress

Kind = Literal["local", "ray", "slurm"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PROCESSES_FROM = 5  # shards; fewer are done before other processes have started
SLURM_MINUTES = 120  # of one job, which cleans one shard
SLURM_JOBS = 500  # waiting or running at once
EXECUTOR = "DIFFUTRON_EXECUTOR"  # where the option does not say it


class Pending(Protocol):
    """A shard on its way."""

    def result(self) -> bytes: ...


Submit = Callable[[Sequence[Document]], Pending]


def chosen_executor(given: Kind | None) -> Kind:
    """The option `--executor`, else `DIFFUTRON_EXECUTOR`, else `local`.

    Raises:
        UserError: the variable names no executor.
    """
    named = given or os.environ.get(EXECUTOR) or "local"
    if named not in KINDS:
        raise UserError(f"{EXECUTOR}={named!r}: choose one of {', '.join(KINDS)}")
    return named


def clean_all(
    documents: Iterable[Document],
    recipe: Recipe,
    *,
    store: ShardStore,
    size: int,
    total: int | None = None,
    kind: Kind = "local",
    workers: int | None = None,
) -> list[ShardFile]:
    """Clean every document into shards of `store`; those that are there already are kept.

    Args:
        size: documents of a shard at most.
        total: documents to come, for the time left.
        workers: processes of `local`; None for the cores there are.
    """
    jobs = store.jobs(cut_huge(documents, recipe.params), size)
    head, missing = [], 0
    for job in jobs:
        head.append(job)
        missing += bool(job.batch)
        if missing == PROCESSES_FROM:
            break
    alone = missing < PROCESSES_FROM and kind == "local"
    cleaned = []
    with (
        Progress(total=total, desc="corpus", unit="documents") as bar,
        started(kind, recipe, workers=1 if alone else workers) as (submit, window),
    ):
        for job in _in_order(chain(head, jobs), submit, window, store):
            bar.update(job.num)
            cleaned.append(ShardFile.at(job.path))
    return cleaned


def _in_order(
    jobs: Iterable[ShardJob], submit: Submit, window: int, store: ShardStore
) -> Iterator[ShardJob]:
    """Jobs in their order, each with its shard on disk; at most `window` batches are in memory."""
    waiting: deque[tuple[ShardJob, Pending | None]] = deque()

    def finish() -> ShardJob:
        job, pending = waiting.popleft()
        if pending is not None:
            store.write(job.path, pending.result())
        return ShardJob(job.path, job.num)

    for job in jobs:
        waiting.append((job, submit(job.batch) if job.batch else None))
        while len(waiting) > window:
            yield finish()
    while waiting:
        yield finish()


def started(
    kind: Kind, recipe: Recipe, *, workers: int | None = None
) -> AbstractContextManager[tuple[Submit, int]]:
    """How to submit a batch, and how many may wait.

    Raises:
        UserError: the executor is not installed or cannot be reached.
    """
    if kind == "ray":
        return _on_ray(recipe)
    if kind == "slurm":
        return nullcontext(_on_slurm(recipe))
    if (workers := workers or len(os.sched_getaffinity(0))) > 1:
        return _on_processes(recipe, workers)

    def clean_here(batch: Sequence[Document]) -> Pending:
        done: Future[bytes] = Future()
        done.set_result(clean_batch(batch, recipe.cleaner()))
        return done

    return nullcontext((clean_here, 0))


@contextmanager
def _on_processes(recipe: Recipe, workers: int) -> Iterator[tuple[Submit, int]]:
    # Spawned: threads of the tokenizer and of Arrow do not survive a fork.
    spawn = get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, spawn, initializer=_start, initargs=(recipe,)) as pool:
            yield (lambda batch: pool.submit(_clean, batch)), 2 * workers
    except BrokenProcessPool as error:
        raise UserError(
            "a helping process of the corpus stage was ended from outside (memory?); the shards "
            "that are done stay: run again, with fewer --workers"
        ) from error


_recipe: Recipe | None = None  # of a helping process


def _start(recipe: Recipe) -> None:
    """Make ready a helping process, which ends with its parent: else it would wait for ever."""
    global _recipe
    parent = parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one process per core is enough
    threading.Thread(target=end_with_parent, daemon=True).start()
    _recipe = recipe
    recipe.cleaner()


def _clean(batch: Sequence[Document]) -> bytes:
    assert _recipe is not None
    return clean_batch(batch, _recipe.cleaner())


def _clean_with(recipe: Recipe, batch: Sequence[Document]) -> bytes:
    """The same on a machine that knows nothing yet; the cleaner stays there for the next batch."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    return clean_batch(batch, recipe.cleaner())


@contextmanager
def _on_ray(recipe: Recipe) -> Iterator[tuple[Submit, int]]:
    """Tasks of a Ray cluster: the one of `RAY_ADDRESS`, else one of this machine's cores."""
    try:
        import ray  # pyright: ignore[reportMissingImports] an extra
    except ImportError:
        raise UserError("--executor ray needs Ray: pip install 'diffutron[ray]'") from None
    mine = not ray.is_initialized()
    try:
        ray.init(ignore_reinit_error=True, log_to_driver=False, include_dashboard=False)
    except (ConnectionError, ValueError) as error:
        where = os.environ.get("RAY_ADDRESS", "this machine")
        raise UserError(f"--executor ray: no cluster at {where} ({error})") from error
    known = ray.put(recipe)
    clean = ray.remote(num_cpus=1, max_retries=3)(_clean_with)

    class Task:
        def __init__(self, reference: Any):
            self.reference = reference

        def result(self) -> bytes:
            return ray.get(self.reference)

    try:
        cores = int(ray.cluster_resources().get("CPU", 1))
        yield (lambda batch: Task(clean.remote(known, batch))), 2 * cores
    finally:
        if mine:
            ray.shutdown()


def _on_slurm(recipe: Recipe) -> tuple[Submit, int]:
    """A job a shard; requests and answers lie in `DIFFUTRON_SLURM`, a folder that all hosts see."""
    try:
        import submitit  # pyright: ignore[reportMissingImports] an extra
    except ImportError:
        raise UserError("--executor slurm needs submitit: pip install 'diffutron[slurm]'") from None
    folder = Path(os.environ.get("DIFFUTRON_SLURM", "slurm"))
    try:
        executor = submitit.SlurmExecutor(folder)
    except RuntimeError as error:
        raise UserError(f"--executor slurm: {error}; is `sbatch` on this machine?") from error
    executor.update_parameters(job_name="corpus", cpus_per_task=1, time=SLURM_MINUTES)
    return (lambda batch: executor.submit(_clean_with, recipe, batch)), SLURM_JOBS
