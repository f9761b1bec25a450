"""What a user may choose about denoising."""

from dataclasses import dataclass
from typing import Literal

from .confidence import MEASURES, Measure

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
            "temperature": (self.temperature >= 0, "at least 0"),
            "top_k": (self.top_k is None or self.top_k >= 1, "at least 1"),
            "top_p": (0 < self.top_p <= 1, "in (0, 1]"),
            "threshold": (
                self.threshold is None
                or (0 <= self.threshold <= 1 and self.strategy == "low_confidence"),
                "in [0, 1] and used with strategy low_confidence",
            ),
            "remask": (0 <= self.remask <= 1, "in [0, 1]"),
            "guidance": (self.guidance >= 0, "at least 0"),
            "repetition_penalty": (self.repetition_penalty > 0, "above 0"),
            "no_repeat_ngram": (self.no_repeat_ngram >= 0, "0 (off) or more"),
        }
        for name, (good, allowed) in limits.items():
            if not good:
                raise ValueError(f"{name}={getattr(self, name)!r} must be {allowed}")
