"""The leaderboard: every system on every task and protocol, with what its numbers mean.

Answers are cached as they come, so a run that was stopped goes on where it was; a system that
cannot be scored is named with the reason, and the others go on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffutron.data.evaluation_sets.findable import findable_in
from diffutron.data.own_tasks import shipped_names
from diffutron.data.task_folder import named_tasks
from diffutron.evaluation.cetvel.asked import (
    EvalTask,
    choose_protocols,
    choose_tasks,
    place_of,
    read_material,
)
from diffutron.evaluation.leaderboard.rows import describe, describe_model, means, published, row_of
from diffutron.evaluation.scorers.loading import Checkpoint, ModelUnavailable, find, load
from diffutron.evaluation.scorers.systems import (
    MODELS,
    SYSTEMS,
    System,
    Systems,
    check_folder,
    read_systems,
)
from diffutron.evaluation.scoring.contamination import (
    contaminated_rows,
    training_files,
    training_texts,
)
from diffutron.evaluation.scoring.score_system import (
    FAULTS,
    Outcome,
    release,
    score_baseline,
    score_model,
    score_supervised,
    this_shard,
)
from diffutron.evaluation.scoring.task_numbers import json_lines
from diffutron.evaluation.statistics.pair_tests import Results, compare_all
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import file_digest, write_json, write_text
from diffutron.runtime.progress import Progress

CACHE, ITEMS, RESULTS = "cache", "items", "leaderboard.json"


@dataclass(frozen=True)
class Options:
    """What the command line says; `None` stands for all."""

    out: Path
    systems: Path = SYSTEMS
    only: list[str] | None = None
    tasks: list[str] | None = None
    data: str | None = None
    protocol: str = "corrected"
    limit: int | None = None
    shots: int = 0
    listed: Systems | None = None  # instead of the file `systems`
    tasks_dir: Path | None = None  # files of somebody's own tasks


@dataclass(frozen=True)
class Scored:
    """A system with what it said, and the files of its model, if it is one."""

    system: System
    outcomes: list[Outcome]
    checkpoint: Checkpoint | None


def leaderboard(options: Options) -> dict[str, Any] | None:
    """Score, compare, write `leaderboard.json` and the answers to single items into `out`.

    Returns what was written; None on the ranks of a torchrun that only helped.

    Raises:
        UserError: an unknown name, data that does not fit, a model folder of the wrong kind, or
            nothing that could be scored.
    """
    listed = options.listed or read_systems(options.systems)
    chosen = listed.choose(options.only)
    protocols = choose_protocols(options.protocol)
    own = named_tasks(options.tasks_dir, options.tasks)
    for system in chosen:
        check_folder(system)
    shard = this_shard()
    tasks, missing = read_material(
        choose_tasks(options.tasks, own, also=shipped_names()),
        protocols,
        data=options.data,
        shots=options.shots,
        limit=options.limit,
        seed=listed.scoring.seed,
        own=own,
    )
    scored, not_scored = _score_all(chosen, listed, tasks, options.out)
    if shard.rank:
        return None
    if nothing := _why_nothing(scored, not_scored):
        raise UserError(nothing)
    rows, pairs = _compare(scored, listed, tasks, options.out)
    results = {
        "rows": rows,
        "means": means(rows),
        "pairs": pairs,
        "not_scored": not_scored,
        "missing_sets": missing,
        "sets": [describe(task) for task in tasks],
        "models": [describe_model(one.system, one.checkpoint) for one in scored if one.checkpoint],
        "options": {
            "protocol": options.protocol,
            "shots": options.shots,
            "limit": options.limit,
            "source": place_of(options.data)[0],
        },
        "published": published(listed),
    }
    write_json(options.out / RESULTS, results)
    return results


def _score_all(
    chosen: Sequence[System], listed: Systems, tasks: Sequence[EvalTask], out: Path
) -> tuple[list[Scored], list[dict[str, str]]]:
    scored: list[Scored] = []
    not_scored: list[dict[str, str]] = []
    total = len(chosen) * sum(len(task.questions) for task in tasks)
    first = this_shard().rank == 0
    with Progress(total=total, desc="leaderboard", unit="item", enabled=first) as bar:
        for system in chosen:
            before = bar.done
            bar.postfix = {"system": system.name}
            try:
                scored.append(_score(system, listed, tasks, out, bar))
            except (ModelUnavailable, *FAULTS) as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                not_scored.append({"system": system.name, "reason": reason[:300]})
            release()
            bar.skip(before + total // len(chosen) - bar.done)  # baselines, and what failed
    return scored, not_scored


def _why_nothing(scored: Sequence[Scored], not_scored: Sequence[Mapping[str, str]]) -> str:
    """Why there is no answer to write down; "" where there is one."""
    outcomes = [(one.system.name, outcome) for one in scored for outcome in one.outcomes]
    if any(outcome.answers is not None for _, outcome in outcomes):
        return ""
    why = [f"{one['system']}: {one['reason']}" for one in not_scored]
    for name, outcome in outcomes:
        why.append(f"{name}: {outcome.why} ({outcome.task.name})")
    return "; ".join(dict.fromkeys(why))


def _score(
    system: System, listed: Systems, tasks: Sequence[EvalTask], out: Path, bar: Progress
) -> Scored:
    if system.architecture == "baseline":
        return Scored(system, score_baseline(system, tasks, lambda: _unigram_texts(system)), None)
    if system.architecture == "supervised":
        return Scored(system, score_supervised(tasks), None)
    checkpoint, scoring = find(system), listed.scoring
    two_texts = system.architecture == "encoder_decoder"
    possible = [task for task in tasks if not (two_texts and task.protocol.whole_minus_context)]
    outcomes = score_model(
        lambda: load(system, checkpoint, scoring),
        possible,
        name=system.name,
        identity=(
            checkpoint.digest,
            system.architecture,
            system.dtype,
            scoring.max_rows,
            scoring.seed,
        ),
        cache_folder=out / CACHE,
        bar=bar,
        shard=this_shard(),
    )
    why = "an encoder-decoder reads two texts: the pair encoding of `dllm` does not apply"
    outcomes += [Outcome(task, None, {}, why) for task in tasks if task not in possible]
    return Scored(system, outcomes, checkpoint)


def _unigram_texts(system: System) -> Iterator[str]:
    """What the word frequencies are counted in: the training texts, or the built-in sample."""
    files = training_files(system.training)
    if files:
        return training_texts(files)
    from diffutron.sample import documents

    return (document["text"] for document in documents())


def _compare(
    scored: Sequence[Scored], listed: Systems, tasks: Sequence[EvalTask], out: Path
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A row for each system, task and protocol, and the tests between systems.

    The answers to single items are written, for `diffutron compare` and for checking any number.
    """
    sets = [task.dataset for task in tasks]
    contaminated = {
        one.system.name: contaminated_rows(
            sets, one.system.training, listed.contamination, out / CACHE
        )
        for one in scored
        if one.system.architecture in MODELS
    }
    findable = findable_in(sets, listed.contamination, out / CACHE) if contaminated else {}
    rows: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    for protocol in dict.fromkeys(task.protocol.name for task in tasks):
        compared: list[Results] = []
        for one in scored:
            name = one.system.name
            mine = [o for o in one.outcomes if o.task.protocol.name == protocol]
            rows += [
                row_of(one.system, outcome, contaminated.get(name), findable) for outcome in mine
            ]
            items = {o.task.name: o.items for o in mine if o.answers is not None}
            for row in rows[len(rows) - len(mine) :]:
                if found := items.get(row["task"]):
                    path = out / ITEMS / item_file(name, protocol, row["task"])
                    write_text(path, json_lines(item.values for item in found))
                    row["items_sha256"] = file_digest(path)
            if items:
                compared.append(
                    Results(
                        name,
                        {task: {i.row: i.correct for i in mine} for task, mine in items.items()},
                        {task: {i.row: i.group for i in mine} for task, mine in items.items()},
                    )
                )
        pairs += tested_pairs({protocol: compared})
    return rows, pairs


def item_file(system: str, protocol: str, task: str) -> str:
    """The answers of a system to single items, in the folder `items`."""
    return f"{system}.{protocol}.{task}.jsonl"


def tested_pairs(compared: Mapping[str, Sequence[Results]]) -> list[dict[str, Any]]:
    """The tests between systems, by protocol."""
    return [
        pair
        for protocol, results in compared.items()
        for pair in compare_all(results, protocol=protocol)
    ]
