"""The one call of git."""

import subprocess
from pathlib import Path

from diffutron.runtime.errors import UserError


def git(*arguments: str, root: Path = Path()) -> str:
    """What `git ARGUMENTS` prints in `root`, without the last line break.

    Raises:
        UserError: git is not installed, or it refuses; holds the first line of what git says.
    """
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise UserError("git is not installed; install it") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no message"]
        todo = "run this in the clone of the project"
        if "dubious ownership" in said[0]:  # the last line is the command that allows it
            todo = f"allow it: {said[-1].strip()}"
        raise UserError(f"git {arguments[0]}: {said[0]}; {todo}")
    return done.stdout.strip()
