"""The leaderboard: every system on every task and protocol, with what its numbers mean.

Answers are cached as they come, so a run that was stopped goes on where it was; a system that
cannot be scored is named with the reason, and the others go on.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffutron.evaluation.cetvel.asked import (
    TaskMaterial,
    choose_protocols,
    choose_tasks,
    place_of,
    read_material,
)
from diffutron.evaluation.leaderboard.contamination import (
    touched_rows,
    training_files,
    training_texts,
)
from diffutron.evaluation.leaderboard.rows import (
    describe,
    describe_model,
    items_of,
    means,
    published,
    row_of,
)
from diffutron.evaluation.scorers.loading import Checkpoint, NotAtHand, find
from diffutron.evaluation.scorers.systems import (
    MODELS,
    SYSTEMS,
    System,
    Systems,
    check_folder,
    read_systems,
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
from diffutron.evaluation.scoring.task_numbers import (
    AnsweredItem,
    item_rows,
)
from diffutron.evaluation.statistics.pair_tests import (
    Results,
    compare_all,
)
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import write_json, write_text
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
    tasks = choose_tasks(options.tasks)
    for system in chosen:
        check_folder(system)
    shard = this_shard()
    asked, missing = read_material(
        tasks,
        protocols,
        data=options.data,
        shots=options.shots,
        limit=options.limit,
        seed=listed.scoring.seed,
    )
    scored, not_scored = _score_all(chosen, listed, asked, options.out)
    if shard.rank:
        return None
    if not scored:
        raise UserError("; ".join(f"{one['system']}: {one['reason']}" for one in not_scored))
    touched = {
        one.system.name: touched_rows(
            asked, one.system.training, listed.contamination, options.out / CACHE
        )
        for one in scored
        if one.system.architecture in MODELS
    }
    results = _results(scored, not_scored, touched, options, asked, missing)
    results["published"] = published(listed)
    write_json(options.out / RESULTS, results)
    return results


def _score_all(
    chosen: Sequence[System], listed: Systems, asked: Sequence[TaskMaterial], out: Path
) -> tuple[list[Scored], list[dict[str, str]]]:
    scored: list[Scored] = []
    not_scored: list[dict[str, str]] = []
    total = len(chosen) * sum(len(one.questions) for one in asked)
    first = this_shard().rank == 0
    with Progress(total=total, desc="leaderboard", unit="item", enabled=first) as bar:
        for system in chosen:
            before = bar.done
            bar.postfix = {"system": system.name}
            try:
                one = _score(system, listed, asked, out, bar)
            except (NotAtHand, *FAULTS) as error:
                not_scored.append({"system": system.name, "reason": _one_line(error)})
            else:
                scored.append(one)
            release()
            bar.skip(before + total // len(chosen) - bar.done)  # baselines, and what failed
    return scored, not_scored


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:300]


def _score(
    system: System, listed: Systems, asked: Sequence[TaskMaterial], out: Path, bar: Progress
) -> Scored:
    if system.architecture == "baseline":
        outcomes = score_baseline(system, asked, lambda: _unigram_texts(system))
        return Scored(system, outcomes, None)
    if system.architecture == "supervised":
        return Scored(system, score_supervised(asked), None)
    checkpoint = find(system)
    possible = [one for one in asked if _can_ask(system, one)]
    outcomes = score_model(
        system,
        checkpoint,
        possible,
        listed.scoring,
        out / CACHE,
        shard=this_shard(),
        bar=bar,
    )
    why = "an encoder-decoder reads two texts: the pair encoding of `dllm` does not apply"
    outcomes += [Outcome(one, None, {}, why) for one in asked if not _can_ask(system, one)]
    return Scored(system, outcomes, checkpoint)


def _can_ask(system: System, one: TaskMaterial) -> bool:
    return system.architecture != "encoder_decoder" or not one.protocol.whole_minus_context


def _unigram_texts(system: System) -> Iterator[str]:
    files = training_files(system.training)
    if files:
        return training_texts(files)
    from diffutron.sample import documents

    return (document["text"] for document in documents())


def _results(
    scored: Sequence[Scored],
    not_scored: Sequence[dict[str, str]],
    touched: dict[str, dict[str, list[int]] | None],
    options: Options,
    asked: Sequence[TaskMaterial],
    missing: Sequence[str],
) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    for protocol in dict.fromkeys(one.protocol.name for one in asked):
        compared: list[Results] = []
        for one in scored:
            mine = [o for o in one.outcomes if o.material.protocol.name == protocol]
            items = {o.material.name: items_of(o) for o in mine if o.answers is not None}
            seen = touched.get(one.system.name)
            rows += [row_of(one.system, o, items.get(o.material.name), seen) for o in mine]
            compared.append(_as_results(one.system.name, mine, items))
            _write_items(options.out, compared[-1], protocol, items)
        pairs += compare_all([one for one in compared if one.correct], protocol=protocol)
    return {
        "rows": rows,
        "means": means(rows),
        "pairs": pairs,
        "not_scored": list(not_scored),
        "missing_sets": list(missing),
        "sets": [describe(one) for one in asked],
        "models": [describe_model(one.system, one.checkpoint) for one in scored if one.checkpoint],
        "options": {
            "protocol": options.protocol,
            "shots": options.shots,
            "limit": options.limit,
            "source": place_of(options.data)[0],
        },
    }


def _as_results(
    system: str, outcomes: Sequence[Outcome], items: dict[str, list[AnsweredItem]]
) -> Results:
    questions = {o.material.name: o.material.questions for o in outcomes}
    return Results(
        system,
        {task: {item.row: item.correct for item in found} for task, found in items.items()},
        {task: {one.row: one.group for one in questions[task]} for task in items},
    )


def _write_items(
    out: Path, results: Results, protocol: str, items: dict[str, list[AnsweredItem]]
) -> None:
    """The answers to single items, for `diffutron compare` and for checking any number."""
    for task, found in items.items():
        lines = [
            json.dumps({**row, "group": results.groups[task][row["row"]]}, ensure_ascii=False)
            for row in item_rows(found)
        ]
        path = out / ITEMS / f"{results.system}.{protocol}.{task}.jsonl"
        write_text(path, "\n".join(lines) + "\n")
