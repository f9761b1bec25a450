"""What a user may choose about denoising."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from diffutron.diffusion.sampling.token_choice import MEASURES, Measure

Strategy = Literal["random"] | Measure
STRATEGIES: tuple[Strategy, ...] = (*MEASURES, "random")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to denoise. A bad value is a ValueError that names the field.

    num_steps: model passes for each row, shared out over its blocks. block_length: masked
    positions are finished in blocks of this many, left to right (None: all at once). strategy:
    which positions are committed first. temperature: 0 takes the best token, else tokens are
    drawn from softmax(logits / temperature) within top_k and top_p. threshold: besides the step's
    share, commit whatever has a higher confidence (Fast-dLLM, arXiv 2505.22618). remask: the cap
    on the chance that a committed token of the block is masked again in a step (ReMDM-cap, arXiv
    2503.00307, with exact counts). guidance: scale of classifier-free guidance, whose
    unconditional pass sees only generated tokens. repetition_penalty, no_repeat_ngram: over
    generated tokens only; n-gram blocking may take more steps than num_steps. suppress: tokens
    never produced.
    """

    num_steps: int
    block_length: int | None = None
    strategy: Strategy = "low_confidence"
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    threshold: float | None = None
    remask: float = 0.0
    guidance: float = 0.0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    suppress: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        limits = {
            "num_steps": (self.num_steps >= 1, "at least 1"),
            "block_length": (self.block_length is None or self.block_length >= 1, "at least 1"),
            "strategy": (self.strategy in STRATEGIES, f"one of {', '.join(STRATEGIES)}"),
            "temperature": (0 <= self.temperature < math.inf, "at least 0, and finite"),
            "top_k": (self.top_k is None or self.top_k >= 1, "at least 1"),
            "top_p": (0 < self.top_p <= 1, "in (0, 1]"),
            "threshold": (
                self.threshold is None
                or (0 <= self.threshold <= 1 and self.strategy == "low_confidence"),
                "in [0, 1] and used with strategy low_confidence",
            ),
            "remask": (0 <= self.remask <= 1, "in [0, 1]"),
            "guidance": (0 <= self.guidance < math.inf, "at least 0, and finite"),
            "repetition_penalty": (0 < self.repetition_penalty < math.inf, "above 0, and finite"),
            "no_repeat_ngram": (self.no_repeat_ngram >= 0, "0 (off) or more"),
        }
        for name, (good, allowed) in limits.items():
            if not good:
                raise ValueError(f"{name}={getattr(self, name)!r} must be {allowed}")


DEFAULT_TOKENS = 64
DEFAULT_BLOCK = 32  # the longest block unless the model or the caller says otherwise


def make_settings(values: Mapping[str, Any]) -> Settings:
    """Settings by name; an unknown name is a ValueError with the known ones."""
    names = {part.name for part in fields(Settings)}
    unknown = sorted(set(values) - names)
    if unknown:
        raise ValueError(f"{unknown[0]} is no setting; there are {', '.join(sorted(names))}")
    return Settings(**values)


def generation_settings(
    given: Mapping[str, Any], defaults: Mapping[str, Any]
) -> tuple[int, Settings]:
    """Number of new tokens, and the settings: what is `given` (None counts as not), then
    `defaults`.

    With another number of tokens than the default's, its steps and blocks do not apply: one step
    a token then, in the longest equal blocks of at most 32. Raises ValueError for a block that
    does not divide the tokens.
    """
    values = {"max_new_tokens": DEFAULT_TOKENS, **defaults}
    if given.get("max_new_tokens") not in (None, values["max_new_tokens"]):
        values = {k: v for k, v in values.items() if k not in ("num_steps", "block_length")}
    values |= {name: value for name, value in given.items() if value is not None}
    num_new = int(values.pop("max_new_tokens"))
    if num_new < 1:
        raise ValueError(f"max_new_tokens={num_new} must be at least 1")
    values.setdefault("num_steps", num_new)
    longest = max(n for n in range(1, DEFAULT_BLOCK + 1) if num_new % n == 0)
    block = int(values.setdefault("block_length", longest))
    if block >= 1 and num_new % block:
        raise ValueError(f"block_length={block} must divide max_new_tokens={num_new}")
    return num_new, make_settings(values)
