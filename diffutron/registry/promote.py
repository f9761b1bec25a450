"""Promotion and rollback: the alias `champion` moves, and a tag says who did it, why and when."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

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
STALE = 120.0  # seconds after which the lock of a command that was killed is taken away


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
    expected_champion: int | None = None,
    evidence: Mapping[str, Any] | None = None,
    override_gate: bool = False,
) -> Promotion:
    """Make a version the champion and write down the decision.

    Args:
        expected_champion: the champion that the decision was taken against (0: there was none);
            by default, whatever stands.
        evidence: what the gate said (`Verdict.as_evidence`).
        override_gate: promote although the gate does not hold; the record says so.

    Raises:
        UserError: an unknown version, the present champion, a gate that does not hold, a champion
            that moved meanwhile, another promotion under way, or a bad name or reason; nothing
            moves.
    """
    by, reason = _one_line("--by", by), _one_line("--reason", reason)
    said = dict(evidence or {})
    with tracking() as client:
        require_version(client, name, version)
        with promotion_lock(client, name):
            previous = champion(client, name)
            if previous == version:
                raise UserError(f"{name} version {version} is the champion already")
            if expected_champion not in (None, previous or NONE):
                made = decisions(client, name)
                told = f" by {made[-1].by} at {made[-1].at}" if made else ""
                raise UserError(
                    f"the champion of {name} moved to version {previous or 'none'}{told}, after "
                    "this decision was taken; nothing moved; compare again with `diffutron gate`"
                )
            failed = [] if said.get("holds", True) else said["failed"]
            if failed and not override_gate:
                others = f" (and {len(failed) - 1} more)" if failed[1:] else ""
                raise UserError(
                    f"{name} version {version} does not pass the gate: {failed[0]}{others}; "
                    f"nothing moved; see `diffutron gate {version}`, or decide otherwise with "
                    "--override-gate, which stays on record"
                )
            decision = Promotion(
                version, by, reason, _now(), previous, evidence=said, override_gate=bool(failed)
            )
            _move(client, name, decision)
    return decision


def rollback(
    to: int | None = None, *, by: str, reason: str = "rollback", name: str = NAME
) -> Promotion:
    """Put an earlier champion back: by default the one before the present.

    Raises:
        UserError: as `promote`; also a champion without a predecessor.
    """
    by, reason = _one_line("--by", by), _one_line("--reason", reason)
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


@contextmanager
def promotion_lock(client: "MlflowClient", name: str) -> Iterator[None]:
    """Hold the lock of a registered model: one promotion at a time, over all machines.

    The name of a registered model is unique in every store that MLflow has, so a model of an
    agreed name is a lock that works on a file, Postgres and a server alike.

    Raises:
        UserError: another command holds it.
    """
    lock = f"{name}.promotion-lock"
    if not (_take(client, lock) or (_drop_stale(client, lock) and _take(client, lock))):
        raise UserError(
            f"another promotion of {name} is under way; nothing moved; look at "
            "`diffutron history` and decide again"
        )
    try:
        yield
    finally:
        client.delete_registered_model(lock)


def _take(client: "MlflowClient", lock: str) -> bool:
    from mlflow.exceptions import MlflowException

    about = "Held while an alias moves; a promotion removes it when it ends."
    try:
        client.create_registered_model(lock, description=about)
    except MlflowException as error:
        # "Does not exist": it was there at the insert and gone when MLflow looked why that failed.
        if error.error_code in ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"):
            return False
        raise
    return True


def _drop_stale(client: "MlflowClient", lock: str) -> bool:
    """Remove the lock if its holder must be dead; True if it is gone."""
    from mlflow.exceptions import MlflowException

    try:
        held = client.get_registered_model(lock)
        if time.time() - (held.creation_timestamp or 0) / 1000 < STALE:
            return False
        client.delete_registered_model(lock)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    return True


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


def _one_line(option: str, text: str) -> str:
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
    records = [
        json.loads(value)
        for version in client.search_model_versions(f"name='{name}'")
        for key, value in version.tags.items()
        if key.startswith(TAG)
    ]
    for record in records:
        if "against_gate" in record:  # its name in release 0.1
            record["override_gate"] = record.pop("against_gate")
    return sorted((Promotion(**record) for record in records), key=lambda decision: decision.at)


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
