"""Promotion: the alias `champion` moves, and tags say who moved it, when, why and from where."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from diffutron.errors import UserError
from diffutron.registry.tracking import tracking

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

CHAMPION = "champion"
TAG = "promotion."
NAME = "diffutron"


@dataclass(frozen=True)
class Promotion:
    """One move of the champion."""

    version: int
    by: str
    reason: str
    at: str
    previous: int | None


def promote(version: int, *, by: str, reason: str, name: str = NAME) -> Promotion:
    """Make a version the champion and write down the decision.

    Errors: an unknown version, the present champion, or an empty name or reason is a `UserError`;
    nothing moves.
    """
    for option, text in (("--by", by), ("--reason", reason)):
        if not text.strip():
            raise UserError(f"{option} is empty; a promotion says who decided and why")
    with tracking() as client:
        _require_version(client, name, version)
        previous = champion(client, name)
        if previous == version:
            raise UserError(f"{name} version {version} is the champion already")
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        decision = Promotion(version, by.strip(), reason.strip(), at, previous)
        # The record first: a crash between the two leaves a decision without a move, which shows.
        client.set_model_version_tag(
            name, str(version), f"{TAG}{at}", json.dumps(asdict(decision), ensure_ascii=False)
        )
        client.set_registered_model_alias(name, CHAMPION, str(version))
    return decision


def history(name: str = NAME) -> list[Promotion]:
    """Every promotion of a model, oldest first."""
    with tracking() as client:
        _require_model(client, name)
        found = [
            Promotion(**json.loads(value))
            for version in client.search_model_versions(f"name='{name}'")
            for key, value in version.tags.items()
            if key.startswith(TAG)
        ]
    return sorted(found, key=lambda promotion: promotion.at)


def champion(client: "MlflowClient", name: str = NAME) -> int | None:
    """The version that the alias points at, or None before the first promotion."""
    aliases = client.get_registered_model(name).aliases
    return int(aliases[CHAMPION]) if CHAMPION in aliases else None


def _require_model(client: "MlflowClient", name: str) -> None:
    if not client.search_registered_models(f"name='{name}'"):
        raise UserError(f"no registered model {name}; `diffutron register` makes the first version")


def _require_version(client: "MlflowClient", name: str, version: int) -> None:
    _require_model(client, name)
    known = sorted(int(v.version) for v in client.search_model_versions(f"name='{name}'"))
    if version not in known:
        there = ", ".join(map(str, known)) or "none"
        raise UserError(f"{name} has no version {version}; there are: {there}")
