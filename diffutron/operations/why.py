"""`diffutron why STAGE`: what has changed since a stage last ran, in a sentence, before it runs."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from diffutron.runtime.errors import UserError
from diffutron.runtime.project import require_project
from diffutron.runtime.yaml_files import read_yaml

LOCK = Path("dvc.lock")
PIPELINE = Path("dvc.yaml")
SHOWN = 6  # changes named in one sentence
_MISSING = object()

Changes = dict[str, list[str]]
"""Stage -> its own changes, each a phrase; stages without any are left out."""


def why(stage: str) -> str:
    """The sentence for one stage.

    Errors: an unknown stage, or a pipeline that DVC cannot read, is a `UserError`.
    """
    require_project("why", str(PIPELINE))
    known = _yaml(PIPELINE).get("stages", {})
    if stage not in known:
        raise UserError(f"there is no stage {stage!r}; the stages are: {', '.join(known)}")
    try:
        found = changes(stage)
    except RuntimeError as error:
        raise UserError(str(error)) from None
    return sentence(stage, found)


def sentence(stage: str, found: Changes) -> str:
    """Why a stage will run, or that it will not; `found` holds it and the stages before it."""
    own = found.get(stage, [])
    before = [other for other in found if other != stage]
    if not own and not before:
        return f"{stage} is up to date: nothing that it depends on has changed."
    if not own:
        first = before[0]
        return (
            f"{stage} may run again, because a stage before it will: {first} ({found[first][0]})"
            f"{_more(len(before) - 1)}."
        )
    named = "; ".join(own[:SHOWN]) + _more(len(own) - SHOWN)
    return f"{stage} will run again: {named}."


def _more(number: int) -> str:
    return f" and {number} more" if number > 0 else ""


def changes(*stages: str) -> Changes:
    """What DVC finds changed in these stages and those before them (without any: in all).

    Raises RuntimeError with DVC's message, in one line.
    """
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    command += ["--with-deps", *stages] if stages else []
    answer = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if answer.returncode:
        raise RuntimeError(f"dvc status: {' '.join(answer.stderr.split())}")
    ran = _yaml(LOCK).get("stages", {})
    return {
        stage: list(_phrases(facts, ran.get(stage)))
        for stage, facts in json.loads(answer.stdout).items()
    }


def _phrases(facts: list[Any], lock: Mapping[str, Any] | None) -> Iterator[str]:
    """DVC's facts on one stage in words; what it reads before what it writes."""
    if lock is None:
        yield "it has not run here yet"
        return
    outputs: list[str] = []
    for fact in facts:
        if fact == "changed command":
            yield "its command in dvc.yaml has changed"
            continue
        for path, state in fact.get("changed deps", {}).items():
            if isinstance(state, Mapping):
                yield from _keys(path, state, lock.get("params", {}).get(path, {}))
            else:
                yield f"{_kind(path)} {path} {_state(state)}"
        outputs += [
            f"its output {path} {_state(state)}"
            for path, state in fact.get("changed outs", {}).items()
        ]
    yield from outputs


def _kind(path: str) -> str:
    if path.startswith("diffutron/"):
        return "the code file" if path.endswith(".py") else "the code folder"
    return "its input"


def _state(state: str) -> str:
    return {
        "modified": "has changed",
        "deleted": "is missing",
        "new": "is new",
        "not in cache": "is missing here and in the cache",
    }.get(state, f"is {state}")


def _keys(path: str, changed: Mapping[str, str], recorded: Mapping[str, Any]) -> Iterator[str]:
    """Each changed key of a parameters file, with its value at the last run and now."""
    values = _yaml(Path(path))
    for key in changed:
        old = recorded.get(key, _MISSING)
        yield from _differences(f"{path} {key}", old, _at(values, key))


def _differences(key: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in {**old, **new}:
            yield from _differences(
                f"{key}.{name}", old.get(name, _MISSING), new.get(name, _MISSING)
            )
    elif old != new:
        yield f"{key} is {_value(new)} and was {_value(old)}"


def _value(value: Any) -> str:
    return "not there" if value is _MISSING else json.dumps(value, ensure_ascii=False)


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part, _MISSING) if isinstance(values, Mapping) else _MISSING
    return values


def _yaml(path: Path) -> Any:
    return (read_yaml(path) or {}) if path.exists() else {}
