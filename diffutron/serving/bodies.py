"""What a request may hold, in OpenAI's names; fields of ours stand beside them."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=1_000_000)]
MIN_TEMPERATURE = 0.0001  # below it logits overflow
Ids = list[Annotated[int, Field(ge=0, lt=2**31)]]


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool = False
    include_drafts: bool = False  # ours


class Sampling(BaseModel):
    """How to generate. What is not given comes from the model's own `diffutron.json`."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    model: str | None = None
    user: str | None = None
    temperature: float | None = Field(None, ge=0, le=100)
    top_p: float | None = None
    top_k: int | None = Field(None, lt=2**31)
    n: int = Field(1, ge=1, le=64)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    # ours
    num_steps: int | None = Field(None, lt=2**31)
    block_length: int | None = Field(None, lt=2**31)
    strategy: str | None = None
    threshold: float | None = None
    remask: float | None = None
    guidance: float | None = Field(None, le=100)
    repetition_penalty: float | None = Field(None, ge=0.01, le=100)
    no_repeat_ngram: int | None = Field(None, le=100)

    @property
    def drafts(self) -> bool:
        """Whether a stream tells of each step what was committed."""
        return (
            self.stream and self.stream_options is not None and self.stream_options.include_drafts
        )

    def settings(self) -> dict[str, Any]:
        """The sampler's settings by name, None where the request has none. ValueError."""
        if self.temperature and self.temperature < MIN_TEMPERATURE:
            raise ValueError(
                f"temperature={self.temperature!r} must be 0, or from {MIN_TEMPERATURE} to 100"
            )
        return {name: getattr(self, name) for name in SETTINGS}

    def stops(self) -> list[str]:
        many = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [text for text in many if text]


SETTINGS = (
    *("temperature", "top_p", "top_k", "num_steps", "block_length", "strategy", "threshold"),
    *("remask", "guidance", "repetition_penalty", "no_repeat_ngram"),
)


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    type: str
    text: Text


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    role: str
    content: Text | list[Part]
    name: str | None = None

    def plain(self) -> dict[str, str]:
        if isinstance(self.content, str):
            return {"role": self.role, "content": self.content}
        for part in self.content:
            if part.type != "text":
                raise ValueError(f"messages: a part of type {part.type!r} is not text")
        return {"role": self.role, "content": "".join(part.text for part in self.content)}


class ChatBody(Sampling):
    """The body of `POST /v1/chat/completions`."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=1000)]
    max_tokens: int | None = Field(None, ge=1, lt=2**31)
    max_completion_tokens: int | None = Field(None, ge=1, lt=2**31)


class CompletionBody(Sampling):
    """The body of `POST /v1/completions`. With a `suffix` the text between the two is filled in."""

    prompt: Text | list[Text] | Ids | list[Ids]
    suffix: Text | None = None
    echo: bool = False
    logprobs: int | None = Field(None, ge=0, le=20)
    max_tokens: int | None = Field(None, ge=0, lt=2**31)

    def prompts(self) -> list[str | list[int]]:
        """The prompts one by one. ValueError where there is none."""
        found: Any = self.prompt
        if isinstance(found, str) or (found and isinstance(found[0], int)):
            found = [found]
        if not found:
            raise ValueError("prompt: need at least one text, or one list of token ids")
        return found


class ScoreBody(BaseModel):
    """The body of `POST /v1/score`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str | None = None
    input: Text | Annotated[list[Text], Field(min_length=1, max_length=1000)]
    samples: int = Field(32, ge=2, le=1024)
    seed: int = Field(0, ge=-(2**63), lt=2**63)

    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input
