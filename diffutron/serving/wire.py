"""Answers in OpenAI's shape."""

import json
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from diffutron.diffusion.likelihood.left_to_right import LeftToRight


class Wire:
    """The frame of one answer: its id, kind, time and model."""

    def __init__(self, model: str, *, chat: bool) -> None:
        self.chat = chat
        self.frame: dict[str, Any] = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
            "object": "chat.completion" if chat else "text_completion",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, choices: Sequence[dict[str, Any]], usage: dict[str, int]) -> dict[str, Any]:
        return {**self.frame, "choices": choices, "usage": usage}

    def choice(
        self, index: int, text: str, reason: str, logprobs: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        shared = {"index": index, "finish_reason": reason, "logprobs": logprobs}
        if self.chat:
            return {**shared, "message": {"role": "assistant", "content": text}}
        return {**shared, "text": text}

    def chunk(
        self,
        index: int,
        text: str,
        reason: str | None = None,
        *,
        first: bool = False,
        draft: dict[str, Any] | None = None,
    ) -> str:
        """An event of a stream: the next piece of a choice's text, and what a step committed."""
        shared: dict[str, Any] = {"index": index, "finish_reason": reason, "logprobs": None}
        if self.chat:
            role = {"role": "assistant"} if first else {}
            shared["delta"] = {**role, "content": text} if text or first else {}
        else:
            shared["text"] = text
        if draft is not None:
            shared["draft"] = draft
        return event({**self._chunk_frame(), "choices": [shared]})

    def usage_chunk(self, usage: dict[str, int]) -> str:
        return event({**self._chunk_frame(), "choices": [], "usage": usage})

    def _chunk_frame(self) -> dict[str, Any]:
        return {**self.frame, "object": "chat.completion.chunk"} if self.chat else self.frame


def event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def logprobs(
    pieces: Sequence[str], scored: LeftToRight, top_texts: Iterable[Sequence[str]], *, top: int
) -> dict[str, Any]:
    """The `logprobs` of a completion. A text's offset counts characters from the first token."""
    offsets = [0]
    for piece in pieces:
        offsets.append(offsets[-1] + len(piece))
    tops = [
        dict(zip(texts, values, strict=True))
        for texts, values in zip(top_texts, scored.top_logprobs.tolist(), strict=True)
    ]
    return {
        "tokens": list(pieces),
        "token_logprobs": scored.logprobs.tolist(),
        "top_logprobs": tops if top else None,
        "text_offset": offsets[:-1],
    }
