"""One system on all that is asked: loaded once, answers cached, canaries beside every number."""

import gc
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from diffutron.evaluation.cetvel.asked import TaskMaterial
from diffutron.evaluation.scorers import bag_of_words, baselines
from diffutron.evaluation.scorers.answer import Answer
from diffutron.evaluation.scorers.loading import Checkpoint, NotAtHand, load, randomize
from diffutron.evaluation.scorers.systems import (
    Scoring,
    System,
)
from diffutron.evaluation.scoring import sanity_checks
from diffutron.evaluation.scoring.answer_cache import ItemCache
from diffutron.evaluation.scoring.answering import Shard, answer_all
from diffutron.evaluation.scoring.sanity_checks import Canary
from diffutron.runtime.files import write_json
from diffutron.runtime.progress import Progress

if TYPE_CHECKING:
    from diffutron.evaluation.scorers.scorer import Adapter

T = TypeVar("T")
FAULTS = (ValueError, RuntimeError, ImportError, KeyError)  # of a model, not of the run
Canaries = dict[str, Canary]


@dataclass(frozen=True)
class Outcome:
    """What a system said to one set; `answers` is None where it cannot answer (`why`)."""

    material: TaskMaterial
    answers: dict[str, Answer] | None
    canaries: Canaries
    why: str | None = None


def score_baseline(
    system: System, asked: Sequence[TaskMaterial], texts: Callable[[], Iterator[str]]
) -> list[Outcome]:
    """A baseline answers at once; `texts` is what the unigram model counts."""
    answer = baselines.BY_NAME.get(system.name) or baselines.Unigram(texts())
    return [
        Outcome(
            one,
            {q.key: a for q, a in zip(one.questions, answer(one.questions), strict=True)},
            _of_baseline(one),
        )
        for one in asked
    ]


def score_supervised(asked: Sequence[TaskMaterial]) -> list[Outcome]:
    """The bag of words, where the task has a training split."""
    outcomes = []
    for one in asked:
        if one.training is None or one.one.task not in bag_of_words.TASKS:
            outcomes.append(Outcome(one, None, {}, "no training split"))
            continue
        found = bag_of_words.answer(one.one.task, one.training.rows, one.questions)
        answers = {q.key: a for q, a in zip(one.questions, found, strict=True)}
        outcomes.append(Outcome(one, answers, _of_baseline(one)))
    return outcomes


def _of_baseline(one: TaskMaterial) -> Canaries:
    return {"oracle": sanity_checks.oracle(one.questions)}


def score_model(
    system: System,
    checkpoint: Checkpoint,
    asked: Sequence[TaskMaterial],
    scoring: Scoring,
    cache_folder: Path,
    *,
    shard: Shard,
    bar: Progress,
) -> list[Outcome]:
    """The answers of a model and its canaries; the model is loaded only if something is new.

    Raises NotAtHand, UserError (a folder of the wrong kind), or what loading and scoring raise:
    ValueError, RuntimeError.
    """
    identity = (checkpoint.digest, system.architecture, system.dtype, *scoring_identity(scoring))
    caches = [_cache(system, one, identity, cache_folder, shard) for one in asked]
    notes = [_CanaryFile(cache, one) for cache, one in zip(caches, asked, strict=True)]
    known = [cache.read() for cache in caches]
    complete = all(
        note.read() is not None and all(q.key in answers for q in one.questions)
        for note, answers, one in zip(notes, known, asked, strict=True)
    )
    if complete:
        bar.skip(sum(len(one.questions) for one in asked))
    else:
        adapter = together(shard, lambda: load(system, checkpoint, scoring))
        _answer_and_watch(adapter, asked, caches, notes, shard=shard, bar=bar)
        known = [cache.read() for cache in caches]
    return [
        Outcome(one, answers, note.read() or {})
        for one, answers, note in zip(asked, known, notes, strict=True)
    ]


def scoring_identity(scoring: Scoring) -> tuple[int, int]:
    """What of the settings a value depends on; the size of a batch is none of it."""
    return scoring.max_rows, scoring.seed


def _cache(
    system: System,
    one: TaskMaterial,
    identity: tuple[object, ...],
    folder: Path,
    shard: Shard,
) -> ItemCache:
    name = f"{system.name}.{one.protocol.name}.{one.name}"
    asked = (one.protocol.name, one.shots, one.name)
    return ItemCache(folder, (*identity, *asked), name=name, rank=shard.rank)


def _answer_and_watch(
    adapter: "Adapter",
    asked: Sequence[TaskMaterial],
    caches: Sequence[ItemCache],
    notes: Sequence["_CanaryFile"],
    *,
    shard: Shard,
    bar: Progress,
) -> None:
    def answer() -> None:
        for one, cache in zip(asked, caches, strict=True):
            answer_all(adapter, one.questions, one.protocol, cache, shard=shard, bar=bar)

    def watch() -> None:
        known = [cache.read() for cache in caches]
        found = [_watch(adapter, *each) for each in zip(asked, known, strict=True)]
        randomize(adapter.model, seed=0)
        for one, note, of_weights in zip(asked, notes, found, strict=True):
            random = sanity_checks.random_weights(adapter, one.questions, one.protocol)
            note.write({**of_weights, "random_weights": random})

    together(shard, answer)
    together(shard, watch if shard.rank == 0 else lambda: None)


def _watch(adapter: "Adapter", one: TaskMaterial, answers: dict[str, Answer]) -> Canaries:
    asked = (adapter, one.questions, one.protocol, answers)
    return {
        "oracle": sanity_checks.oracle(one.questions),
        "target": sanity_checks.target(*asked),
        "batch": sanity_checks.batch(*asked),
        "shuffled": sanity_checks.shuffled(*asked, listed=one.listed),
    }


class _CanaryFile:
    """The canaries of a set, beside its answers; those of other questions do not count."""

    def __init__(self, cache: ItemCache, one: TaskMaterial) -> None:
        self.path = cache.folder / f"{cache.stem}.sanity_checks.json"
        self.keys = sorted(question.key for question in one.questions)

    def read(self) -> Canaries | None:
        if not self.path.is_file():
            return None
        values = json.loads(self.path.read_text(encoding="utf-8"))
        if values["questions"] != self.keys:
            return None
        return {name: Canary(**value) for name, value in values["canaries"].items()}

    def write(self, found: Canaries) -> None:
        plain = {name: asdict(canary) for name, canary in found.items()}
        write_json(self.path, {"questions": self.keys, "canaries": plain})


def this_shard() -> Shard:
    """This process among those that torchrun started; alone without it."""
    shard = Shard(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    if shard.size > 1:
        import torch.distributed as dist

        if not dist.is_initialized():
            dist.init_process_group("gloo", timeout=timedelta(days=7))
    return shard


def release() -> None:
    """Give back the memory of the last model: no two are ever loaded."""
    gc.collect()
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()


def together(shard: Shard, work: Callable[[], T]) -> T:
    """Do `work` on every rank, and wait for all; where it fails on one it fails on all, so that no
    rank waits for another that has gone on."""
    fault: Exception | None = None
    result: Any = None
    try:
        result = work()
    except (NotAtHand, *FAULTS) as error:
        fault = error
    if shard.size > 1:
        import torch
        import torch.distributed as dist

        fine = torch.tensor([int(fault is None)])
        dist.all_reduce(fine, op=dist.ReduceOp.MIN)
        if not fine and fault is None:
            raise RuntimeError("it failed on another rank, whose log says why")
    if fault is not None:
        raise fault
    return result
