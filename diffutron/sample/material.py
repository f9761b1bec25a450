"""The words, facts, scenes and events that the sample is made of, from the TOML files beside."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any


@cache
def material(name: str) -> dict[str, Any]:
    """Return `name`.toml (events, facts, scenes, words); words of a text stand between blanks."""
    return tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))
