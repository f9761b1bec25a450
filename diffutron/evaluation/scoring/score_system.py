"""One system on all that is asked: answers cached, sanity checks beside every number."""

import gc
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from diffutron.evaluation.cetvel.asked import EvalTask
from diffutron.evaluation.scorers import bag_of_words, baselines
from diffutron.evaluation.scorers.answer import Answer
from diffutron.evaluation.scorers.loading import ModelUnavailable, randomize
from diffutron.evaluation.scorers.systems import System
from diffutron.evaluation.scoring import sanity_checks
from diffutron.evaluation.scoring.answer_cache import AnswerCache
from diffutron.evaluation.scoring.answering import ALONE, Shard, answer_all
from diffutron.evaluation.scoring.sanity_checks import SanityCheck
from diffutron.evaluation.scoring.task_numbers import AnsweredItem, answered
from diffutron.runtime.files import read_json, write_json
from diffutron.runtime.progress import Progress

if TYPE_CHECKING:
    from diffutron.evaluation.scorers.scorer import Scorer

T = TypeVar("T")
FAULTS = (ValueError, RuntimeError, ImportError, KeyError)  # of a model, not of the run
Checks = dict[str, SanityCheck]


@dataclass(frozen=True)
class Outcome:
    """What a system said to one set; `answers` is None where it cannot answer (`why`)."""

    task: EvalTask
    answers: dict[str, Answer] | None
    checks: Checks
    why: str | None = None

    @property
    def items(self) -> list[AnsweredItem]:
        answers = self.answers or {}
        return [answered(one, answers[one.key]) for one in self.task.questions]

    def check_values(self, *, not_made: str) -> dict[str, Any]:
        """The sanity checks as they stand in a result: a verdict for each name, and the details.

        A check that was not made is null, for the reason `not_made`.
        """
        absent = sanity_checks.SanityCheck(None, f"not made: {not_made}")
        found = {name: self.checks.get(name, absent) for name in sanity_checks.NAMES}
        return {
            "sanity_checks": {name: one.passed for name, one in found.items()},
            "sanity_check_details": {name: one.detail for name, one in found.items()},
        }


def score_baseline(
    system: System, tasks: Sequence[EvalTask], texts: Callable[[], Iterator[str]]
) -> list[Outcome]:
    """A baseline answers at once; `texts` is what the unigram model counts."""
    answer = baselines.BY_NAME.get(system.name) or baselines.Unigram(texts())
    return [_at_once(task, answer(task.questions)) for task in tasks]


def score_supervised(tasks: Sequence[EvalTask]) -> list[Outcome]:
    """The bag of words, where the task has a training split."""
    outcomes = []
    for task in tasks:
        name = task.dataset.task
        if task.training is None:
            outcomes.append(Outcome(task, None, {}, "no training split"))
        elif name not in bag_of_words.TASKS:
            outcomes.append(Outcome(task, None, {}, "the bag of words does not learn this task"))
        else:
            found = bag_of_words.answer(name, task.training.rows, task.questions)
            outcomes.append(_at_once(task, found))
    return outcomes


def _at_once(task: EvalTask, found: Sequence[Answer]) -> Outcome:
    answers = {q.key: answer for q, answer in zip(task.questions, found, strict=True)}
    return Outcome(task, answers, {"oracle": sanity_checks.oracle(task.questions)})


def score_model(
    load: Callable[[], "Scorer"],
    tasks: Sequence[EvalTask],
    *,
    name: str,
    identity: Iterable[object],
    cache_folder: Path,
    bar: Progress,
    shard: Shard = ALONE,
    checks: Sequence[str] = sanity_checks.NAMES,
) -> list[Outcome]:
    """The answers of a model and its sanity checks; the model is loaded only if something is new.

    Args:
        load: Gives the model. Its weights are random afterwards where `checks` has
            `random_weights`.
        tasks: What it is asked.
        name: Of the system, for its files.
        identity: What a value depends on besides the question: the bytes of the model and how it
            is asked.
        cache_folder: Where answers are kept.
        bar: Is told of each question.
        shard: The part of the questions that this process answers.
        checks: Which sanity checks are made; the others are null.

    Raises:
        ModelUnavailable, UserError, ValueError, RuntimeError: from loading or scoring.
    """

    def cache_of(task: EvalTask) -> AnswerCache:
        asked = (task.protocol.name, task.shots, task.name)
        title = f"{name}.{task.protocol.name}.{task.name}"
        return AnswerCache(cache_folder, (*identity, *asked), name=title, rank=shard.rank)

    caches = [cache_of(task) for task in tasks]
    kept = [_CheckFile(*each, checks) for each in zip(caches, tasks, strict=True)]
    known = [cache.read() for cache in caches]
    complete = all(
        file.read() is not None and all(q.key in answers for q in task.questions)
        for file, answers, task in zip(kept, known, tasks, strict=True)
    )
    if complete:
        bar.skip(sum(len(task.questions) for task in tasks))
    else:
        scorer = together(shard, load)

        def answer() -> None:
            for task, cache in zip(tasks, caches, strict=True):
                answer_all(scorer, task.questions, task.protocol, cache, shard=shard, bar=bar)

        def check() -> None:
            answers = [cache.read() for cache in caches]
            for file, found in zip(kept, _check(scorer, tasks, answers, checks), strict=True):
                file.write(found)

        together(shard, answer)
        together(shard, check if shard.rank == 0 else lambda: None)
        known = [cache.read() for cache in caches]
    return [
        Outcome(task, answers, file.read() or {})
        for task, answers, file in zip(tasks, known, kept, strict=True)
    ]


def _check(
    scorer: "Scorer",
    tasks: Sequence[EvalTask],
    answers: Sequence[dict[str, Answer]],
    names: Sequence[str],
) -> list[Checks]:
    """The checks of each task; those of random weights come last, as they need the model."""
    found: list[Checks] = []
    for task, known in zip(tasks, answers, strict=True):
        found.append({"oracle": sanity_checks.oracle(task.questions)})
        for check in sanity_checks.OF_ANSWERS:
            if check.__name__ in names:
                found[-1][check.__name__] = check(scorer, task, known)
    if "random_weights" in names:
        randomize(scorer.model, seed=0)
        for task, mine in zip(tasks, found, strict=True):
            mine["random_weights"] = sanity_checks.random_weights(scorer, task)
    return found


class _CheckFile:
    """The sanity checks of a set, beside its answers.

    Those of other questions, or by other names, do not count.
    """

    def __init__(self, cache: AnswerCache, task: EvalTask, names: Sequence[str]) -> None:
        self.path = cache.folder / f"{cache.stem}.sanity_checks.json"
        self.asked = {
            "names": list(names),
            "questions": sorted(question.key for question in task.questions),
        }

    def read(self) -> Checks | None:
        values = read_json(self.path) if self.path.is_file() else {}
        if any(values.get(key) != asked for key, asked in self.asked.items()):
            return None
        return {name: SanityCheck(**value) for name, value in values["sanity_checks"].items()}

    def write(self, found: Checks) -> None:
        plain = {name: asdict(check) for name, check in found.items()}
        write_json(self.path, {**self.asked, "sanity_checks": plain})


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
    except (ModelUnavailable, *FAULTS) as error:
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
