"""What generating, infilling and scoring return."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from diffutron.diffusion.likelihood.any_order import Score


class Committed(NamedTuple):
    """A token that got its place: in which step, where (from the first open position), which, how
    sure.

    `text` is None for a place that remasking opened again.
    """

    step: int
    position: int
    token_id: int
    text: str | None
    confidence: float


@dataclass(frozen=True, slots=True)
class Trace:
    """How a text came about, step by step."""

    prompt: str
    answer: str
    events: Sequence[Committed]
    block_length: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """The file format, JSON: `{prompt, answer, block_length, steps: [{step, tokens: [...]}]}`.

        A token is `{position, token, confidence}`; `token` is its text, or null for a place
        opened again.
        """
        steps: dict[int, list[dict[str, Any]]] = {}
        for event in self.events:
            confidence = round(event.confidence, 4)
            token = {"position": event.position, "token": event.text, "confidence": confidence}
            steps.setdefault(event.step, []).append(token)
        listed = [{"step": step, "tokens": tokens} for step, tokens in sorted(steps.items())]
        return {
            "prompt": self.prompt,
            "answer": self.answer,
            "block_length": self.block_length,
            "steps": listed,
        }


def decode_events(
    tokenizer: Any, events: Sequence[tuple[int, int, int, float]], *, first: int
) -> list[Committed]:
    """The sampler's events (step, canvas position, token id, confidence) in words.

    Positions count from `first`, a canvas position.
    """
    texts = tokenizer.batch_decode([[token] for _, _, token, _ in events]) if events else []
    mask = tokenizer.mask_token_id
    return [
        Committed(step, place - first, token, None if token == mask else text, sure)
        for (step, place, token, sure), text in zip(events, texts, strict=True)
    ]


def prompt_as_text(prompt: Any) -> str:
    """A prompt as one string: a chat is told by its last message, token ids by their numbers."""
    if isinstance(prompt, str):
        return prompt
    last = prompt[-1]
    return str(last["content"]) if isinstance(last, Mapping) else " ".join(map(str, prompt))


@dataclass(frozen=True, slots=True)
class Generated:
    """text: without chat markers and special tokens. token_ids: what was filled in, up to the end.

    num_steps: model passes.
    """

    text: str
    token_ids: list[int]
    trace: Trace
    num_steps: int


@dataclass(frozen=True, slots=True)
class Scored(Score):
    """The any-order bound on log p(continuation | context), in nats.

    split_token: a token lay across the border, so the two sides were encoded apart. num_dropped:
    context tokens that did not fit.
    """

    split_token: bool
    num_dropped: int


@dataclass(frozen=True, slots=True)
class Decision:
    """choice: the likeliest option. probabilities: of each option, in the order given.

    scores: the bounds on log p of the options, in nats, that the probabilities come from.
    """

    choice: str
    probabilities: dict[str, float]
    scores: dict[str, Score]
    temperature: float

    @property
    def exact(self) -> bool:
        """No score is an estimate."""
        return all(score.exact for score in self.scores.values())


@dataclass(frozen=True, slots=True)
class Bound:
    """The NELBO of a text.

    Nats for the whole of it, bits per UTF-8 byte, standard error in nats.
    """

    nats: float
    bits_per_byte: float
    stderr: float
    num_tokens: int
