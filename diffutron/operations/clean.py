"""`diffutron clean`: free disk of what no build needs any more, after saying how much."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from diffutron.runtime.errors import UserError
from diffutron.runtime.files import read_json
from diffutron.runtime.project import require_project

CHECKPOINTS, SWEEPS = Path("checkpoints"), Path("sweeps")
OUTPUTS = ("data", "models", "report", "registry", "metrics")
_REMOVING = re.compile(r"^Removing (.+)$", re.MULTILINE)
_HALF_WRITTEN = re.compile(r"^\..+\.[a-z0-9_]{8}$")  # of `outputs.atomic_folder`, killed


@dataclass(frozen=True)
class Waste:
    """A file or folder that may go, and why."""

    path: Path
    why: str
    bytes: int


def find_waste(checkpoints: Path = CHECKPOINTS) -> list[Waste]:
    """Old checkpoints, half-written outputs and cached results that no commit refers to.

    Errors: a folder without a pipeline, or one in which DVC is at work, is a `UserError`.
    """
    in_project = Path("dvc.yaml").exists()
    if not in_project and not checkpoints.is_dir():  # a tuning needs no project
        require_project("clean", "dvc.yaml")
    half_written = [
        (path, "half-written output of a run that was killed")
        for folder in map(Path, OUTPUTS)
        for path in sorted(folder.glob(".*"))
        if _HALF_WRITTEN.match(path.name)
    ]
    found = [*_old_checkpoints(checkpoints), *half_written, *_of_sweeps()]
    found += _unused_cache() if in_project else ()
    return [Waste(path, why, size_of(path)) for path, why in found]


def remove(waste: list[Waste]) -> int:
    """Remove them; the bytes that this freed."""
    for one in waste:
        if one.path.is_dir() and not one.path.is_symlink():
            shutil.rmtree(one.path)
        else:
            one.path.unlink(missing_ok=True)
    return sum(one.bytes for one in waste)


def _old_checkpoints(folder: Path) -> Iterator[tuple[Path, str]]:
    """Those of a stage but for its newest: that one is where an interrupted training goes on."""
    of_stage: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*-*")) if folder.is_dir() else ():
        of_stage.setdefault(path.name.rpartition("-")[0], []).append(path)
    for paths in of_stage.values():
        newest = max(paths, key=lambda path: path.stat().st_mtime)
        yield from ((path, "checkpoints of other settings") for path in paths if path != newest)
        yield from ((path, "half-written checkpoint") for path in newest.glob("step-*.partial"))


def _of_sweeps(folder: Path = SWEEPS) -> Iterator[tuple[Path, str]]:
    """What finished sweeps have left of arms that are not the best; others go on there."""
    for results in sorted(folder.glob("*/sweep.json")):
        kept = set(read_json(results).get("kept", []))
        for path in sorted((results.parent / "work").glob("*")):
            if path.name not in kept:
                yield path, "stages of a finished sweep"


def _unused_cache() -> Iterator[tuple[Path, str]]:
    """What `dvc gc` would remove; the results of all commits stay."""
    scope = "--all-commits" if Path(".git").exists() else "--workspace"
    command = [sys.executable, "-m", "dvc", "gc", scope, "--dry"]
    answer = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if answer.returncode:
        raise UserError(f"dvc gc: {' '.join(answer.stderr.split())}")
    for name in _REMOVING.findall(answer.stdout + answer.stderr):
        path = Path(name)
        if path.exists():
            yield path, "cached result that no commit refers to"


def size_of(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())
