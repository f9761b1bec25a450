"""A repository of this project's files as they are now, to clone from."""

import subprocess
from pathlib import Path

from tests.support.project import copy_project

IDENTITY = ["-c", "user.name=test", "-c", "user.email=test@example.org"]


def git(folder: Path, *arguments: str) -> None:
    command = ["git", "-c", f"safe.directory={folder}", *IDENTITY, *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)


def make_repository(folder: Path) -> Path:
    """The files of this checkout as they are, but for ignored ones, committed anew in `folder`."""
    copy_project(folder)
    git(folder, "init", "-q")
    commit(folder, "as it is")
    return folder
