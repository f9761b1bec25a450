"""Two runs on the same items, from the answers that they left on disk."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from diffutron.evaluation.statistics.pair_tests import (
    Results,
    compare,
)
from diffutron.runtime.errors import UserError

# A run keeps the answers of a system as `items/SYSTEM.PROTOCOL.TASK.jsonl` (leaderboard) or
# `items_MODEL_TASK.jsonl` (stage `evaluate`).
LEADERBOARD, EVALUATION = "items", "items_*.jsonl"
NEEDED = ("row", "correct", "choices")


def is_run(text: str) -> bool:
    """Whether `FOLDER` or `FOLDER:NAME` holds answers."""
    folder, _ = _split(text)
    return (folder / LEADERBOARD).is_dir() or any(folder.glob(EVALUATION))


def _split(text: str) -> tuple[Path, str | None]:
    if Path(text).exists() or ":" not in text:
        return Path(text), None
    folder, _, name = text.rpartition(":")
    return Path(folder), name


def read_run(text: str, *, protocol: str = "corrected") -> Results:
    """The answers of one system of a run: `FOLDER`, or `FOLDER:NAME` where it holds several.

    Raises `UserError` for a folder without answers, or a name that is not there or is needed.
    """
    folder, name = _split(text)
    files = _leaderboard_files(folder, protocol) or _evaluation_files(folder)
    if not files:
        raise UserError(
            f"{folder} holds no answers: give the folder of `diffutron leaderboard --out` or of "
            f"the stage `evaluate`, a model folder, or models:/NAME@ALIAS"
        )
    if name is None and len(files) == 1:
        (name,) = files
    if name not in files:
        raise UserError(f"{text}: say which system, as {folder}:NAME; there are {', '.join(files)}")
    correct: dict[str, dict[int, bool]] = {}
    groups: dict[str, dict[int, str]] = {}
    for task, path in sorted(files[name].items()):
        items = list(_read_items(path))
        correct[task] = {item["row"]: item["correct"] for item in items}
        groups[task] = {item["row"]: item.get("group") or f"row {item['row']}" for item in items}
    return Results(text, correct, groups)


def _leaderboard_files(folder: Path, protocol: str) -> dict[str, dict[str, Path]]:
    found: dict[str, dict[str, Path]] = {}
    for path in sorted((folder / LEADERBOARD).glob(f"*.{protocol}.*.jsonl")):
        system, _, task = path.stem.partition(f".{protocol}.")
        found.setdefault(system, {})[task] = path
    return found


def _evaluation_files(folder: Path) -> dict[str, dict[str, Path]]:
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob(EVALUATION)):
        _, model, task = path.stem.split("_", 2)
        found.setdefault(model, {})[task] = path
    return found


def _read_items(path: Path) -> Iterable[dict[str, Any]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            item = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not JSON ({error.msg})") from None
        absent = [key for key in NEEDED if key not in item]
        if absent:
            raise UserError(f"{path}, line {number}: field `{absent[0]}` is missing")
        yield item


def compare_runs(a: Results, b: Results, *, protocol: str) -> list[dict[str, Any]]:
    """One entry a task that both answered on shared items, and one for the mean."""
    entries = compare(a, b, protocol=protocol)
    if not entries:
        raise UserError(f"{a.system} and {b.system} have no item in common")
    return entries
