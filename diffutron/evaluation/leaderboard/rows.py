"""The rows of `leaderboard.json`: a system on a set in a protocol, and what its number means."""

from collections.abc import Sequence
from typing import Any

from diffutron.evaluation.cetvel.asked import TaskMaterial
from diffutron.evaluation.cetvel.questions import Question
from diffutron.evaluation.scorers.loading import Checkpoint
from diffutron.evaluation.scorers.systems import (
    System,
    Systems,
)
from diffutron.evaluation.scoring import sanity_checks
from diffutron.evaluation.scoring.score_system import Outcome
from diffutron.evaluation.scoring.task_numbers import (
    AnsweredItem,
    answered,
    summarize,
)

KEYS = (
    "system", "task", "stand_in", "protocol", "shots", "n", "correct", "acc", "acc_norm", "low",
    "high", "chance", "constant", "published", "canaries",
)  # fmt: skip


def items_of(outcome: Outcome) -> list[AnsweredItem]:
    answers = outcome.answers or {}
    return [answered(one, answers[one.key]) for one in outcome.material.questions]


def row_of(
    system: System,
    outcome: Outcome,
    items: list[AnsweredItem] | None,
    touched: dict[str, list[int]] | None,
) -> dict[str, Any]:
    """One line of `rows`: the promised keys first, then what explains them."""
    one = outcome.material
    sheet = items or [_unanswered(question) for question in one.questions]
    values = summarize(sheet, one.one)
    if items is None:
        values |= dict.fromkeys(
            ("correct", "acc", "acc_norm", "low", "high", "p_value", "recall", "predicted", "ties")
        )
    found = outcome.canaries
    values |= {
        "system": system.name,
        "task": one.name,
        "stand_in": one.stand_in,
        "protocol": one.protocol.name,
        "shots": one.shots,
        "published": None if one.stand_in else system.published.get(one.one.task),
        "canaries": {
            name: found[name].passed if name in found else None for name in sanity_checks.NAMES
        },
        "canary_details": {name: canary.detail for name, canary in found.items()},
        "supervised": system.architecture == "supervised",
        "why": outcome.why,
        **_untouched(items, one.name, touched),
    }
    return {key: values.pop(key) for key in KEYS} | values


def _unanswered(question: Question) -> AnsweredItem:
    """So that chance and constant stand beside a task that a system cannot answer."""
    choices = list(question.choices)
    zeros = [0.0] * len(choices)
    return AnsweredItem(
        question.row, question.gold, 0, 0, False, False, False, choices, zeros, zeros, True
    )


def _untouched(
    items: list[AnsweredItem] | None, task: str, touched: dict[str, list[int]] | None
) -> dict[str, Any]:
    """Items that the training data gives away, and the score without them."""
    if items is None or touched is None:
        return {"touched": None, "acc_untouched": None}
    seen = set(touched[task])
    clean = [item.correct for item in items if item.row not in seen]
    return {
        "touched": len(items) - len(clean),
        "acc_untouched": sum(clean) / len(clean) if clean else None,
    }


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


def describe(one: TaskMaterial) -> dict[str, Any]:
    return {
        "task": one.name,
        "stand_in": one.stand_in,
        "protocol": one.protocol.name,
        "origin": one.one.origin,
        "items": len(one.questions),
        "dropped": one.one.dropped,
        "digest": one.one.digest,
        "training_rows": len(one.training.rows) if one.training else 0,
        "training_dropped": one.training.dropped if one.training else {},
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


def failed_canaries(results: dict[str, Any]) -> list[str]:
    """`system, task, protocol: canary: detail` of each that failed."""
    return [
        f"{row['system']}, {row['task']}, {row['protocol']}: {name}: {row['canary_details'][name]}"
        for row in results["rows"]
        for name, passed in row["canaries"].items()
        if passed is False
    ]
