"""Two runs on the same items, from the answers that they left on disk.

Models that no run has answers of are scored first, as on the leaderboard.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffutron.evaluation.leaderboard.leaderboard import ITEMS, Options, leaderboard
from diffutron.evaluation.scorers.systems import System, Systems, read_systems
from diffutron.evaluation.statistics.pair_tests import Results, compare
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import read_json
from diffutron.runtime.json_lines import read_json_lines

# A run keeps the answers of a system as `items/SYSTEM.PROTOCOL.TASK.jsonl` (leaderboard) or
# `items_MODEL_TASK.jsonl` (stage `evaluate`).
EVALUATION = "items_*.jsonl"
NEEDED = ("row", "correct", "choices")


def is_run(text: str) -> bool:
    """Whether `FOLDER` or `FOLDER:NAME` holds answers."""
    folder, _ = _split(text)
    return (folder / ITEMS).is_dir() or any(folder.glob(EVALUATION))


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
    files: dict[str, dict[str, Path]] = {}
    for path in sorted((folder / ITEMS).glob(f"*.{protocol}.*.jsonl")):
        system, _, task = path.stem.partition(f".{protocol}.")
        files.setdefault(system, {})[task] = path
    for path in sorted(folder.glob(EVALUATION)):
        _, model, task = path.stem.split("_", 2)
        files.setdefault(model, {})[task] = path
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
        items = []
        for number, item in read_json_lines(path, advice="score it again"):
            absent = [key for key in NEEDED if key not in item]
            if absent:
                raise UserError(f"{path}, line {number}: field `{absent[0]}` is missing")
            items.append(item)
        correct[task] = {item["row"]: item["correct"] for item in items}
        groups[task] = {item["row"]: item.get("group") or f"row {item['row']}" for item in items}
    return Results(text, correct, groups)


def compare_runs(a: Results, b: Results, *, protocol: str) -> list[dict[str, Any]]:
    """One entry per task that both answered on shared items, and one for the mean."""
    entries = compare(a, b, protocol=protocol)
    if not entries:
        raise UserError(f"{a.system} and {b.system} have no item in common")
    return entries


def system_name(place: str) -> str:
    """A name for files: `models:/diffutron@champion` becomes `models-diffutron-champion`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", place).strip("-._") or "model"


def score_models(
    folders: Mapping[str, Path], *, systems: Path, out: Path, **asked: Any
) -> dict[str, Any] | None:
    """Score each folder as a system of its own name; what is cached is not scored again.

    asked: `tasks`, `tasks_dir`, `data`, `protocol` and `limit` of the leaderboard.
    """
    listed = read_systems(systems)
    entries = [
        System(name=system_name(place), architecture=_architecture(folder), model=str(folder))
        for place, folder in folders.items()
    ]
    own = Systems(scoring=listed.scoring, contamination=listed.contamination, systems=entries)
    return leaderboard(Options(out=out, listed=own, **asked))


def _architecture(folder: Path) -> Any:
    """By the model's own configuration; a ModernBERT counts as a masked diffusion model."""
    path = folder / "config.json"
    config = read_json(path) if path.is_file() else {}
    heads = [str(name) for name in config.get("architectures") or []]
    if config.get("is_encoder_decoder"):
        return "encoder_decoder"
    if any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in heads):
        return "causal"
    if config.get("model_type") != "modernbert" and any(n.endswith("ForMaskedLM") for n in heads):
        return "pseudo_likelihood"
    return "masked_diffusion"
