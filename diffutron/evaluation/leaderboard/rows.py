"""The rows of `leaderboard.json`: a system on a set in a protocol, and what its number means."""

from collections.abc import Sequence
from typing import Any

from diffutron.evaluation.cetvel.asked import EvalTask
from diffutron.evaluation.scorers.answer import Answer
from diffutron.evaluation.scorers.loading import Checkpoint
from diffutron.evaluation.scorers.systems import System, Systems
from diffutron.evaluation.scoring.score_system import Outcome
from diffutron.evaluation.scoring.task_numbers import answered, clustered, summarize

KEYS = (
    "system", "task", "stand_in", "protocol", "shots", "n", "correct", "acc", "acc_norm", "low",
    "high", "chance", "constant", "published", "sanity_checks",
)  # fmt: skip
OF_ANSWERS = (
    "correct", "acc", "acc_norm", "low", "high", "p_value", "recall", "predicted", "ties", "parts",
)  # fmt: skip
CONTAMINATION = ("contaminated", "findable", "acc_uncontaminated")


def row_of(
    system: System,
    outcome: Outcome,
    contaminated: dict[str, list[int]] | None,
    findable: dict[str, dict[str, list[int]]],
) -> dict[str, Any]:
    """One line of `rows`: the promised keys first, then what explains them.

    contaminated: the rows of each set that the system saw in training; None where that is not
    known.
    findable: by set and form, the rows that would be found in a training text.
    """
    task, is_answered = outcome.task, outcome.answers is not None
    if is_answered:
        values = summarize(outcome.items, task.dataset)
    else:  # chance and constant stand beside a task that a system cannot answer
        sheet = [answered(one, Answer.of_choice(0, len(one.choices))) for one in task.questions]
        values = summarize(sheet, task.dataset) | dict.fromkeys(OF_ANSWERS)
    without: dict[str, Any] = dict.fromkeys(CONTAMINATION)
    if is_answered and contaminated is not None:
        seen, can_be_found = set(contaminated[task.name]), set(findable[task.name]["document"])
        clean = [item.correct for item in outcome.items if item.row not in seen]
        without = {
            "contaminated": len(outcome.items) - len(clean),
            "findable": sum(item.row in can_be_found for item in outcome.items),
            "acc_uncontaminated": sum(clean) / len(clean) if clean else None,
        }
    values |= {
        "system": system.name,
        "task": task.name,
        "stand_in": task.stand_in,
        "protocol": task.protocol.name,
        "shots": task.shots,
        "published": None if task.stand_in else system.published.get(task.dataset.task),
        **outcome.check_values(not_made=outcome.why or "the system is no model"),
        "supervised": system.architecture == "supervised",
        "cluster_interval": clustered(outcome.items)
        if is_answered and task.dataset.clustered
        else None,
        "by_length": any(answer.by_length for answer in (outcome.answers or {}).values()),
        "items_sha256": None,  # of the file of answers, once it is written
        "why": outcome.why,
        **without,
    }
    return {key: values.pop(key) for key in KEYS} | values


def means(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The mean accuracy of each system and protocol, over the tasks it has a score for."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["acc"] is not None:
            found.setdefault((row["system"], row["protocol"]), []).append(row)
    return [
        {
            "system": system,
            "protocol": protocol,
            "tasks": len(mine),
            **{
                key: sum(row[key] for row in mine) / len(mine)
                for key in ("acc", "acc_norm", "chance", "constant")
            },
        }
        for (system, protocol), mine in found.items()
    ]


def describe(task: EvalTask) -> dict[str, Any]:
    own = task.dataset.own
    return {
        "task": task.name,
        "stand_in": task.stand_in,
        "protocol": task.protocol.name,
        "origin": task.dataset.origin,
        "items": len(task.questions),
        "dropped": task.dataset.dropped,
        "digest": task.dataset.digest,
        "normalization": own.normalization if own else "none",
        "published": own.published if own else None,
        "training_rows": len(task.training.rows) if task.training else 0,
        "training_dropped": task.training.dropped if task.training else {},
    }


def describe_model(system: System, checkpoint: Checkpoint) -> dict[str, Any]:
    """What was scored, to the commit (of a hub's repository) and to the bytes."""
    return {
        "system": system.name,
        "architecture": system.architecture,
        "model": system.model,
        "commit": checkpoint.commit,
        "digest": checkpoint.digest,
        "dtype": system.dtype,
    }


def published(listed: Systems) -> list[dict[str, Any]]:
    return [
        {"system": one.name, "column": one.column, "published": one.published}
        for one in listed.systems
        if one.published
    ]


def failed_checks(results: dict[str, Any]) -> list[str]:
    """`system, task, protocol: sanity check: detail` of each that failed."""
    return [
        f"{row['system']}, {row['task']}, {row['protocol']}: {name}: "
        + row["sanity_check_details"][name]
        for row in results["rows"]
        for name, passed in row["sanity_checks"].items()
        if passed is False
    ]
