"""The settings of a tuning: those of an instruction phase, and of the rows that it learns from.

Nothing has to be set: what is not set follows from the size of the model and of the rows.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from diffutron.config.data_params import LanguageParams, NearDuplicateParams
from diffutron.config.params import GenerationParams
from diffutron.config.renamed import KEYS
from diffutron.config.section import NonNegative, Positive
from diffutron.config.training_params import InstructParams
from diffutron.operations.profiles import merged, with_override
from diffutron.runtime.yaml_files import checked, read_yaml

SETTINGS = Path(__file__).with_name("settings.yaml")
MICRO_BATCH_TOKENS = 4096
MOST_NEW_TOKENS = 256
EPOCHS = ((500, 10.0), (2_000, 5.0), (20_000, 3.0), (math.inf, 1.0))  # for fewer rows than that
BATCH_SIZES = ((500, 8), (5_000, 16), (50_000, 32), (math.inf, 64))
# The published phases tune 307 M parameters at 5e-5; a smaller model takes larger steps.
LEARNING_RATE, ITS_PARAMETERS = 5e-5, 307e6
LORA_FACTOR = 10.0  # an adapter takes larger steps than the weights themselves
LEAST_RATE, MOST_RATE = 1e-5, 2e-3


class TuneParams(InstructParams):
    """Everything that a tuning depends on besides the model and the rows."""

    seed: NonNegative
    max_tokens: Positive
    heldout_rows: Positive
    asked_rows: Positive
    likelihood_rows: Annotated[int, Field(ge=2)]
    language: LanguageParams
    near_duplicate: NearDuplicateParams
    generation: GenerationParams


def settings(overrides: Sequence[str], *, chosen: dict[str, Any] | None = None) -> TuneParams:
    """The settings of the file, with what was chosen by size, with overrides (`key=value` each).

    Raises:
        UserError: an override that is none, an unknown key, a value out of range.
    """
    values = merged(read_yaml(SETTINGS), chosen or {})
    if any(override.partition("=")[0].strip() == "training.epochs" for override in overrides):
        values["training"]["steps"] = None
    for override in overrides:
        values = with_override(values, override)
    origin = f"settings -S {' -S '.join(overrides)}" if overrides else str(SETTINGS)
    return checked(values, TuneParams, origin=origin, renamed=KEYS)


def held_out_of(num_rows: int) -> int:
    """How many of so many rows are held out: a tenth, at least 10 and at most 200; of few rows a
    quarter."""
    return max(1, min(200, max(num_rows // 10, min(10, num_rows // 4))))


def sized(
    *,
    method: Literal["full", "lora"],
    parameters: int,
    max_length: int,
    num_rows: int,
    longest_row: int,
    longest_answer: int,
) -> dict[str, Any]:
    """The settings that follow from a model and its rows.

    Args:
        method: all weights, or an adapter.
        parameters: of the model.
        max_length: tokens that the model holds.
        num_rows: rows to learn from.
        longest_row: tokens of the longest one.
        longest_answer: tokens of the longest answer, its end included.
    """
    batch_size = next(size for below, size in BATCH_SIZES if num_rows < below)
    epochs = next(epochs for below, epochs in EPOCHS if num_rows < below)
    steps = max(1, math.ceil(epochs * num_rows / batch_size))
    rate = LEARNING_RATE * math.sqrt(ITS_PARAMETERS / parameters)
    rate *= LORA_FACTOR if method == "lora" else 1.0
    packed = min(max_length, max(128, longest_row))
    block = max(8, min(32, 8 * math.ceil(longest_answer / 8)))
    new = min(MOST_NEW_TOKENS, block * math.ceil(longest_answer / block))
    return {
        "method": method,
        "training": {
            "steps": steps,
            "batch_size": batch_size,
            "packed_length": packed,
            "learning_rate": float(f"{min(MOST_RATE, max(LEAST_RATE, rate)):.2g}"),
            "micro_batch_rows": max(1, MICRO_BATCH_TOKENS // packed),
            "checkpoint_every": max(20, steps // 10),
            "evaluate_every": max(20, steps // 5),
        },
        "generation": {"max_new_tokens": new, "num_steps": new, "block_length": block},
    }
