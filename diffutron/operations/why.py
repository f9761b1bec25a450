"""`diffutron why STAGE`: what has changed since a stage last ran, in a sentence, before it runs."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from diffutron.operations.dvc_lock import drop_dead_locks
from diffutron.runtime.errors import UserError
from diffutron.runtime.project import require_project
from diffutron.runtime.tables import flatten
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
    drop_dead_locks()
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
                recorded = lock.get("params", {}).get(path, {})
                yield from _differences(path, state, flatten(recorded), flatten(_yaml(Path(path))))
                continue
            kind = "its input"
            if path.startswith("diffutron/"):
                kind = "the code file" if path.endswith(".py") else "the code folder"
            yield f"{kind} {path} {_state(state)}"
        outputs += [
            f"its output {path} {_state(state)}"
            for path, state in fact.get("changed outs", {}).items()
        ]
    yield from outputs


def _state(state: str) -> str:
    return {
        "modified": "has changed",
        "deleted": "is missing",
        "new": "is new",
        "not in cache": "is missing here and in the cache",
    }.get(state, f"is {state}")


def _differences(
    path: str, changed: Iterable[str], old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[str]:
    """Each value of a parameters file that stands under a changed key, now and at the last run."""
    for name in {**old, **new}:
        under = any(name == key or name.startswith(f"{key}.") for key in changed)
        was, now = old.get(name, _MISSING), new.get(name, _MISSING)
        if under and was != now:
            yield f"{path} {name} is {_value(now)} and was {_value(was)}"


def _value(value: Any) -> str:
    return "not there" if value is _MISSING else json.dumps(value, ensure_ascii=False)


def _yaml(path: Path) -> Any:
    return (read_yaml(path) or {}) if path.exists() else {}
