"""A repository of this project's files as they are now, to clone from."""

import shutil
import subprocess
from pathlib import Path

from .processes import REPO

IDENTITY = ["-c", "user.name=test", "-c", "user.email=test@example.org"]


def git(folder: Path, *arguments: str) -> None:
    command = ["git", "-c", f"safe.directory={folder}", *IDENTITY, *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)


def make_repository(folder: Path) -> Path:
    """The files of this checkout as they are, but for ignored ones, committed anew in `folder`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (REPO / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPO / name, folder / name)
    git(folder, "init", "-q")
    commit(folder, "as it is")
    return folder
