"""`diffutron reproduce`: a registered version, rebuilt from its own code, parameters and data."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffutron.operations.guard import guarded
from diffutron.operations.live import TRACKING
from diffutron.registry.evidence import read_numbers, run_files
from diffutron.registry.mlflow_client import tracking
from diffutron.registry.mlflow_runs import numbers
from diffutron.registry.promote import NAME, require_version
from diffutron.runtime.errors import StageFailure, UserError
from diffutron.runtime.git import git

TOLERANCE = 0.02  # of shares, nats and bits: another processor rounds otherwise
LAST = "report"
METRICS = "metrics"


@dataclass(frozen=True)
class Origin:
    """What a version was made from."""

    commit: str
    numbers: dict[str, Any]


def reproduce(version: int, *, name: str = NAME, check: bool, to: Path | None = None) -> bool:
    """Clone the code of a version with its parameters; with `check`, build and compare.

    Returns False when a number differs by more than the tolerance. The rebuild takes as long as
    the build did; nothing of this folder is used but the commits and, for local data, the folder
    that DIFFUTRON_DATA names, whose digest the stages verify.
    """
    with _clone_folder(to) as clone:
        origin = prepare(version, clone, name=name)
        print(f"version {version}: commit {origin.commit} in {clone}", flush=True)
        if not check:
            print(f"build it with `dvc repro {LAST}` there", flush=True)
            return True
        build(clone)
        differing = compare(origin.numbers, read_numbers(clone / METRICS))
    print("\n".join(differing), flush=True)
    return not any(line.startswith("DIFFERS") for line in differing)


@contextmanager
def _clone_folder(to: Path | None) -> Iterator[Path]:
    if to is not None:
        if to.exists():
            raise UserError(f"{to} exists; name a new folder with --to")
        yield to
        return
    with tempfile.TemporaryDirectory(prefix="diffutron-reproduce-") as folder:
        yield Path(folder) / "clone"


def prepare(version: int, clone: Path, *, name: str = NAME) -> Origin:
    """The code of a version in `clone`, with the parameters and the lock file of its build.

    Errors: a version that was made from a changed or no checkout, or whose commit is not in this
    repository, is a `UserError`.
    """
    with tracking() as client:
        require_version(client, name, version)
        tags = client.get_model_version(name, str(version)).tags
        commit = _clean_commit(tags, f"{name} version {version}")
        _checkout(commit, clone)
        with run_files(tags["run_id"], {"params.yaml", "dvc.lock", METRICS}) as files:
            shutil.copyfile(files / "params.yaml", clone / "params.yaml")
            if (files / "dvc.lock").exists():
                # For comparison alone: with the lock file in place nothing would be built.
                shutil.copyfile(files / "dvc.lock", clone / "dvc.lock.registered")
            registered = read_numbers(files / METRICS)
    (clone / "dvc.lock").unlink(missing_ok=True)
    return Origin(commit, registered)


def _clean_commit(tags: dict[str, str], what: str) -> str:
    if "tuned_on" in tags:
        raise UserError(
            f"{what} was tuned on {tags['tuned_on']}, which is not part of the project; run "
            "`diffutron tune` with it again"
        )
    commit = tags.get("git_sha", "none")
    if commit == "none" or "run_id" not in tags:
        raise UserError(
            f"{what} has no commit on record (git refused, or there was no checkout); it cannot "
            "be made again"
        )
    if tags.get("git_dirty") != "false":
        raise UserError(
            f"{what} was made with changes that are in no commit (git_dirty); commit, build and "
            "register again to have one that can be made again"
        )
    return commit


def _checkout(commit: str, clone: Path) -> None:
    top = git("rev-parse", "--show-toplevel")
    if subprocess.run(["git", "cat-file", "-e", f"{commit}^{{commit}}"], check=False).returncode:
        raise UserError(f"commit {commit} is not in the repository {top}; fetch it first")
    git("clone", "--quiet", "--shared", "--no-checkout", top, str(clone))
    git("-C", str(clone), "checkout", "--quiet", "--detach", commit)


def build(clone: Path) -> None:
    """Every stage up to the report, from raw text, without the cache of an earlier build."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    command = [sys.executable, "-m", "dvc", "repro", "--no-run-cache", LAST]
    done = subprocess.run(
        guarded(command), cwd=clone, env={**os.environ, "PATH": path, TRACKING: "off"}, check=False
    )
    if done.returncode:
        raise StageFailure(f"the rebuild ended with exit code {done.returncode}")


def compare(registered: dict[str, Any], rebuilt: dict[str, Any]) -> list[str]:
    """A line a number that differs, then the count; times are not results."""
    old, new = numbers(registered["models"]), numbers(rebuilt["models"])
    lines = [
        _line(key, old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    far = sum(line.startswith("DIFFERS") for line in lines)
    equal = len(old.keys() | new.keys()) - len(lines)
    lines.append(f"{equal} numbers equal, {len(lines) - far} within {TOLERANCE:g}, {far} differ")
    return lines


def _line(key: str, old: float | None, new: float | None) -> str:
    if old is None or new is None:
        return f"DIFFERS {key}: {json.dumps(old)} -> {json.dumps(new)}"
    far = abs(old - new) > TOLERANCE * max(1.0, abs(old))
    return f"{'DIFFERS' if far else 'close':7} {key}: {old:.6g} -> {new:.6g}"
