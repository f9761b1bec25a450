"""Models that `diffutron compare` names and no run has answers of: scored as on the leaderboard."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffutron.evaluation.leaderboard.leaderboard import Options, leaderboard
from diffutron.evaluation.scorers.systems import (
    System,
    Systems,
    read_systems,
)
from diffutron.runtime.files import read_json


def system_name(place: str) -> str:
    """A name for files: `models:/diffutron@champion` becomes `models-diffutron-champion`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", place).strip("-._") or "model"


def score_models(
    folders: Mapping[str, Path], *, systems: Path, out: Path, **asked: Any
) -> dict[str, Any] | None:
    """Score each folder as a system of its own name; what is cached is not scored again.

    asked: `tasks`, `data`, `protocol` and `limit` of the leaderboard.
    """
    listed = read_systems(systems)
    entries = [
        System(
            name=system_name(place),
            architecture=_architecture(folder),
            model=str(folder),
        )
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
