"""What happened to the aliases: every recorded move, and every one that nobody recorded."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffutron.registry.mlflow_client import tracking
from diffutron.registry.promote import (
    CHALLENGER,
    CHAMPION,
    NAME,
    Promotion,
    alias,
    decisions,
    require_model,
)

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

REGISTERED_AT = "registered_at"  # tag of a version that `register` made the challenger
BY_HAND = "by hand"


@dataclass(frozen=True)
class Move:
    """One move of an alias; one that was made by hand has no time, person or reason."""

    alias: str
    version: int | None
    previous: int | None
    kind: str
    at: str | None = None
    by: str | None = None
    reason: str | None = None
    override_gate: bool = False

    def __str__(self) -> str:
        moved = f"{self.alias}: {_name(self.previous)} -> {_name(self.version)}"
        if self.kind == BY_HAND:
            return f"{'moved by hand':27} {moved} (no record; in the MLflow UI or by its client)"
        against = " against the gate" if self.override_gate else ""
        return f"{self.at} {moved}, {self.kind}{against} by {self.by}: {self.reason}"


def _name(version: int | None) -> str:
    return "none" if version is None else f"version {version}"


def history(name: str = NAME) -> list[Move]:
    """Every move of `champion`, oldest first, then a `challenger` that was moved by hand."""
    with tracking() as client:
        require_model(client, name)
        made = decisions(client, name)
        moves = _champion_moves(made, now=alias(client, CHAMPION, name))
        wanted, found = _expected_challenger(client, name, made), alias(client, CHALLENGER, name)
    if found != wanted:
        moves.append(Move(CHALLENGER, found, wanted, BY_HAND))
    return moves


def _champion_moves(made: list[Promotion], *, now: int | None) -> list[Move]:
    moves: list[Move] = []
    stood: int | None = None
    for one in made:
        if one.previous != stood:
            moves.append(Move(CHAMPION, one.previous, stood, BY_HAND))
        said = {key: getattr(one, key) for key in ("at", "by", "reason", "override_gate")}
        moves.append(Move(CHAMPION, one.version, one.previous, one.kind, **said))
        stood = one.version
    if now != stood:
        moves.append(Move(CHAMPION, now, stood, BY_HAND))
    return moves


def _expected_challenger(client: "MlflowClient", name: str, made: list[Promotion]) -> int | None:
    """The version that was registered last, unless it has become the champion since."""
    registered = [
        (version.tags[REGISTERED_AT], int(version.version))
        for version in client.search_model_versions(f"name='{name}'")
        if REGISTERED_AT in version.tags
    ]
    if not registered:
        return alias(client, CHALLENGER, name)  # made by another tool: nothing is known of it
    at, newest = max(registered)
    promoted = any(one.version == newest and one.at > at for one in made)
    return None if promoted else newest
