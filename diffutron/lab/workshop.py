"""Stages of an arm, each in a folder of its own that is named by all that its result depends on.

What is equal between arms has one name, so it runs once, and a second call runs nothing. A folder
holds the stage's params.yaml, links to what the stages before it wrote, and what it writes itself.
"""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from diffutron.operations.graph import PIPELINE, direct_needs
from diffutron.operations.guard import guarded
from diffutron.runtime.errors import StageFailure
from diffutron.runtime.files import content_digest, read_json, write_json, write_text
from diffutron.runtime.yaml_files import read_yaml, yaml_text

DONE, LOG = "done.json", "output.log"
TAIL = 2000  # characters of a log in which the cause of a failure is looked for
GRACE = 5.0  # seconds between the signals that end a stage


@dataclass(frozen=True)
class Step:
    """A stage of dvc.yaml, or the measurement at the end of an arm: what it runs and reads."""

    name: str
    command: str
    params: tuple[str, ...]  # keys of params.yaml that it depends on
    code: tuple[str, ...]  # files and folders of the project
    needs: tuple[str, ...]  # steps before it, directly
    outs: tuple[str, ...]


@lru_cache
def step_of(stage: str) -> Step:
    """A stage as dvc.yaml declares it."""
    entries = read_yaml(PIPELINE)["stages"]
    entry = entries[stage]
    outs = {name: _paths(one, "outs", "metrics", "plots") for name, one in entries.items()}
    written = [PurePosixPath(path) for paths in outs.values() for path in paths]
    code = [
        path
        for path in _paths(entry, "deps")
        if not any(PurePosixPath(path).is_relative_to(out) for out in written)
    ]
    params = [key for key in entry.get("params", []) if isinstance(key, str)]
    return Step(
        name=stage,
        command=entry["cmd"],
        params=tuple(params),
        code=tuple(code),
        needs=tuple(sorted(direct_needs()[stage])),
        outs=tuple(outs[stage]),
    )


def _paths(entry: dict[str, Any], *kinds: str) -> list[str]:
    items = [item for kind in kinds for item in entry.get(kind, [])]
    return [next(iter(item)) if isinstance(item, dict) else item for item in items]


def _from_anywhere(values: dict[str, Any]) -> dict[str, Any]:
    """The parameters with the whole path of the task files, as a step runs in its own folder."""
    section = values.get("evaluate") or {}
    folder = section.get("tasks_dir")
    if folder is None:
        return values
    return {**values, "evaluate": {**section, "tasks_dir": str(Path(folder).resolve())}}


@lru_cache
def _code_digest(paths: tuple[str, ...]) -> str:
    return content_digest(Path(path) for path in paths)


@dataclass
class Workshop:
    """Runs steps under `folder`, each at most once.

    told: is called with each line for the user. cores: the processors of each worker, in turn.
    """

    folder: Path
    told: Callable[[str], None]
    cores: Sequence[Sequence[int]]
    ran: int = 0
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def run(self, step: Step, values: dict[str, Any], before: dict[str, Path], *, worker: int,
            label: str) -> Path:  # fmt: skip
        """The folder of the step with these parameters, run if it is not there.

        Args:
            values: of params.yaml.
            before: the folders of the steps that it needs, by name.
            worker: which worker's processors it may use.
            label: what the lines call it.

        Raises:
            StageFailure: the step failed; the message is its last line.
        """
        inputs = {name: before[name] for name in step.needs}
        key = self._key(step, values, inputs)
        folder = self.folder / f"{step.name}-{key}"
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if not (folder / DONE).is_file():
                self.told(f"{label}: {step.name}")
                self._execute(step, folder, values, inputs, worker=worker)
                self.ran += 1
        return folder

    def _key(self, step: Step, values: dict[str, Any], inputs: dict[str, Path]) -> str:
        facts = {
            "command": step.command,
            "params": {key: _at(values, key) for key in step.params},
            "code": _code_digest(step.code),
            "inputs": {name: path.name for name, path in inputs.items()},
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def _execute(
        self,
        step: Step,
        folder: Path,
        values: dict[str, Any],
        inputs: dict[str, Path],
        *,
        worker: int,
    ) -> None:
        for out in step.outs:
            (folder / out).parent.mkdir(parents=True, exist_ok=True)
        write_text(folder / "params.yaml", yaml_text(_from_anywhere(values)))
        for source in inputs.values():
            for out in read_json(source / DONE)["outs"]:
                link = folder / out
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.is_symlink():
                    link.symlink_to((source / out).resolve())
        words = shlex.split(step.command)
        words[:1] = [sys.executable] if words[0] == "python" else words[:1]
        cores = self.cores[worker]
        environment = {**os.environ, "OMP_NUM_THREADS": str(len(cores))}
        environment |= {"DIFFUTRON_CHECKPOINTS": str((folder / "checkpoints").resolve())}
        with (folder / LOG).open("ab") as log:
            done = subprocess.run(
                ["taskset", "-c", ",".join(map(str, cores)), *guarded(words, grace=GRACE)],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            said = (folder / LOG).read_text(encoding="utf-8", errors="replace")[-TAIL:]
            lines = [line for line in said.splitlines() if line.strip()] or ["no output"]
            cause = next((one for one in lines if one.startswith("error: ")), lines[-1])
            raise StageFailure(
                f"{step.name}: {cause} (exit code {done.returncode}; {folder / LOG})"
            )
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        write_json(folder / DONE, {"outs": [out for out in step.outs if (folder / out).exists()]})


def _at(values: Any, key: str) -> Any:
    """The value of a dotted key; None where there is none."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values
