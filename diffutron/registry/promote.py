"""Promotion and rollback: the alias `champion` moves, and a tag says who did it, why and when."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from diffutron.registry.lock import promotion_lock
from diffutron.registry.mlflow_client import tracking
from diffutron.runtime.errors import UserError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

CHAMPION = "champion"
CHALLENGER = "challenger"
TAG = "promotion."
NAME = "diffutron"
LONGEST = 1000  # characters of a name or a reason
NONE = 0  # "no version" where a number is asked for


@dataclass(frozen=True)
class Promotion:
    """One move of the champion; `evidence` is what the gate said of it at that time."""

    version: int
    by: str
    reason: str
    at: str
    previous: int | None
    kind: str = "promotion"
    evidence: dict[str, Any] = field(default_factory=dict)
    override_gate: bool = False


def promote(
    version: int,
    *,
    by: str,
    reason: str,
    name: str = NAME,
    over: int | None = None,
    as_of: datetime | None = None,
    evidence: Mapping[str, Any] | None = None,
    override_gate: bool = False,
) -> Promotion:
    """Make a version the champion and write down the decision.

    over: the champion that the decision was taken against (0: none). as_of: when it was taken, by
    default now; a champion that is newer than the decision stays. evidence: what the gate said.
    override_gate: promote although the gate does not hold; the record says so.

    Errors: an unknown version, the present champion, a gate that does not hold, a champion that
    moved meanwhile, another promotion under way, or a bad name or reason is a `UserError`; nothing
    moves.
    """
    asked = as_of or datetime.now(UTC)
    by, reason = _said("--by", by), _said("--reason", reason)
    with tracking() as client:
        require_version(client, name, version)
        with promotion_lock(client, name):
            previous = champion(client, name)
            if previous == version:
                raise UserError(f"{name} version {version} is the champion already")
            _refuse_old_decision(client, name, previous, over=over, asked=asked)
            said = dict(evidence or {})
            against = not said.get("holds", True)
            if against and not override_gate:
                raise UserError(_why_not(name, version, said))
            decision = Promotion(
                version, by, reason, _now(), previous, evidence=said, override_gate=against
            )
            _move(client, name, decision)
    return decision


def rollback(
    to: int | None = None, *, by: str, reason: str = "rollback", name: str = NAME
) -> Promotion:
    """Put an earlier champion back: by default the one before the present.

    Errors: as `promote`; also a champion without a predecessor is a `UserError`.
    """
    by, reason = _said("--by", by), _said("--reason", reason)
    with tracking() as client:
        require_model(client, name)
        if to is not None:
            require_version(client, name, to)
        with promotion_lock(client, name):
            previous = champion(client, name)
            if previous is None:
                raise UserError(f"{name} has no champion; there is nothing to roll back")
            target = to or _before(decisions(client, name), previous)
            if target is None:
                raise UserError(
                    f"no champion of {name} before version {previous} is on record; "
                    "name one with --to"
                )
            require_version(client, name, target)
            if target == previous:
                raise UserError(f"{name} version {target} is the champion already")
            decision = Promotion(target, by, reason, _now(), previous, kind="rollback")
            _move(client, name, decision)
    return decision


def _move(client: "MlflowClient", name: str, decision: Promotion) -> None:
    """The record first: a crash between the two leaves a decision without a move, which shows."""
    version = str(decision.version)
    record = json.dumps(asdict(decision), ensure_ascii=False)
    client.set_model_version_tag(name, version, f"{TAG}{decision.at}", record)
    client.set_registered_model_alias(name, CHAMPION, version)
    if alias(client, CHALLENGER, name) == decision.version:
        client.delete_registered_model_alias(name, CHALLENGER)


def _refuse_old_decision(
    client: "MlflowClient", name: str, present: int | None, *, over: int | None, asked: datetime
) -> None:
    made = decisions(client, name)
    newer = bool(made) and datetime.fromisoformat(made[-1].at) > asked
    if newer or (over is not None and over != (present or NONE)):
        told = f" by {made[-1].by} at {made[-1].at}" if made else ""
        raise UserError(
            f"the champion of {name} moved to version {present or 'none'}{told}, after this "
            "decision was taken; nothing moved; compare again with `diffutron gate`"
        )


def _why_not(name: str, version: int, evidence: Mapping[str, Any]) -> str:
    first, *more = evidence["failed"]
    others = f" (and {len(more)} more)" if more else ""
    return (
        f"{name} version {version} does not pass the gate: {first}{others}; nothing moved; see "
        f"`diffutron gate {version}`, or decide otherwise with --override-gate, which stays on "
        "record"
    )


def _before(made: list[Promotion], present: int) -> int | None:
    """The champion under the present one: a rollback takes away what was promoted after it."""
    stack: list[int] = []
    for decision in made:
        if decision.previous is not None and (not stack or stack[-1] != decision.previous):
            stack.append(decision.previous)  # moved by hand
        if decision.kind == "rollback" and decision.version in stack:
            del stack[stack.index(decision.version) :]
        stack.append(decision.version)
    if present in stack:
        del stack[len(stack) - 1 - stack[::-1].index(present) :]
    return next((version for version in reversed(stack) if version != present), None)


def _said(option: str, text: str) -> str:
    """A name or a reason as it may stand in a tag and a log: one printable line."""
    line = " ".join(text.split())
    if not line:
        raise UserError(f"{option} is empty; a promotion says who decided and why")
    if not line.isprintable() or len(line) > LONGEST:
        raise UserError(f"{option}: need printable text of at most {LONGEST} characters")
    return line


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def decisions(client: "MlflowClient", name: str = NAME) -> list[Promotion]:
    """Every promotion and rollback of a model, oldest first."""
    found = [
        Promotion(**json.loads(value))
        for version in client.search_model_versions(f"name='{name}'")
        for key, value in version.tags.items()
        if key.startswith(TAG)
    ]
    return sorted(found, key=lambda decision: decision.at)


def champion(client: "MlflowClient", name: str = NAME) -> int | None:
    """The version that the alias points at, or None before the first promotion."""
    return alias(client, CHAMPION, name)


def alias(client: "MlflowClient", which: str, name: str = NAME) -> int | None:
    aliases = client.get_registered_model(name).aliases
    return int(aliases[which]) if which in aliases else None


def require_model(client: "MlflowClient", name: str) -> None:
    if not client.search_registered_models(f"name='{name}'"):
        raise UserError(f"no registered model {name}; `diffutron register` makes the first version")


def resolve(client: "MlflowClient", name: str, wanted: str) -> int:
    """The number of a version that is given by its number or by an alias."""
    require_model(client, name)
    aliases = client.get_registered_model(name).aliases
    if wanted in aliases:
        return int(aliases[wanted])
    if not wanted.isdecimal():
        there = ", ".join(sorted(aliases)) or "none"
        raise UserError(f"{name} has no alias {wanted!r}; there are: {there}; or give a number")
    require_version(client, name, int(wanted))
    return int(wanted)


def require_version(client: "MlflowClient", name: str, version: int) -> None:
    require_model(client, name)
    known = sorted(int(v.version) for v in client.search_model_versions(f"name='{name}'"))
    if version not in known:
        there = ", ".join(map(str, known)) or "none"
        raise UserError(f"{name} has no version {version}; there are: {there}")
