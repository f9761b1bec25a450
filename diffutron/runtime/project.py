"""The clone of this project, which some commands need to stand in."""

import os
from pathlib import Path

from diffutron.runtime.errors import UserError


def require_project(command: str, *needed: str) -> None:
    """Raises UserError if the working folder lacks a path that `command` reads from the clone."""
    missing = [name for name in needed if not Path(name).exists()]
    if missing:
        raise UserError(
            f"no {' and no '.join(missing)} here: `diffutron {command}` works in a clone of the "
            "project; change to its folder and run it again"
        )


def require_writable(command: str) -> None:
    """Raises UserError if nothing can be written in the working folder, such as a colleague's."""
    if not os.access(Path(), os.W_OK):
        raise UserError(
            f"{Path().resolve()} cannot be written, and `diffutron {command}` keeps its work "
            "there; use a copy of your own"
        )
