"""The stages as `dvc.yaml` declares them: their order, and what each needs."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from diffutron.runtime.errors import UserError
from diffutron.runtime.yaml_files import read_yaml

PIPELINE = Path("dvc.yaml")


def stages_in_order(path: Path = PIPELINE) -> list[str]:
    """Every stage after the stages it needs; among equals, the order of the file."""
    needs = direct_needs(path)
    order: list[str] = []
    while len(order) < len(needs):
        ready = [stage for stage in needs if stage not in order and needs[stage] <= {*order}]
        if not ready:
            circle = ", ".join(stage for stage in needs if stage not in order)
            raise ValueError(f"{path}: the stages {circle} need each other")
        order.append(ready[0])
    return order


def stages_between(first: str, last: str, path: Path = PIPELINE) -> list[str]:
    """The stages from `first` to `last`, in the order in which they run.

    Raises:
        UserError: `first` comes after `last`.
    """
    order = stages_in_order(path)
    start, end = order.index(first), order.index(last)
    if start > end:
        raise UserError(f"the stage {first} comes after {last}: choose an earlier first stage")
    return order[start : end + 1]


def all_needs(path: Path = PIPELINE) -> dict[str, set[str]]:
    """For every stage, the stages it needs, directly or through others."""
    direct = direct_needs(path)
    needs: dict[str, set[str]] = {}
    for stage in stages_in_order(path):
        needs[stage] = direct[stage].union(*(needs[other] for other in direct[stage]))
    return needs


def direct_needs(path: Path = PIPELINE) -> dict[str, set[str]]:
    """For every stage, in the order of the file, the stages whose outputs it reads."""
    stages = read_yaml(path)["stages"]
    outs = {stage: {*_paths(entry, "outs", "metrics", "plots")} for stage, entry in stages.items()}
    return {
        stage: {
            other
            for other in stages
            if other != stage
            # A dependency is an output, lies in one or holds one.
            and any(
                dep == out or dep in out.parents or out in dep.parents
                for dep in _paths(entry, "deps")
                for out in outs[other]
            )
        }
        for stage, entry in stages.items()
    }


def command_of(stage: str, path: Path = PIPELINE) -> str:
    """The shell command of a stage."""
    return str(read_yaml(path)["stages"][stage]["cmd"])


def _paths(entry: dict[str, Any], *kinds: str) -> Iterator[PurePosixPath]:
    """The paths of a stage; DVC writes one with options as a mapping `path: options`."""
    for kind in kinds:
        for item in entry.get(kind, []):
            yield PurePosixPath(next(iter(item)) if isinstance(item, dict) else item)
