"""From a request to the rows it asks for, and from a row's tokens to its text."""

import secrets
import threading
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from diffutron.diffusion.sampling.canvas import Canvases, Denoised, Event
from diffutron.diffusion.sampling.settings import DEFAULT_TOKENS, Settings, make_settings
from diffutron.inference import prompts as prompting
from diffutron.inference.generation import plan_generation
from diffutron.inference.language_model import LanguageModel
from diffutron.inference.results import Trace, decode_events
from diffutron.modeling.encoding import begin_ids, encode_texts, end_ids
from diffutron.modeling.tokenizer import END_OF_ANSWER
from diffutron.serving.bodies import ChatBody, CompletionBody, Sampling
from diffutron.serving.errors import ApiError


@dataclass(frozen=True, slots=True)
class Choice:
    """One text to make. canvases: its row, or None where nothing is generated.

    context: the ids before the first one that is filled in. begin: how many of them are no text of
    the request. find_end, chat, stops: what ends the text.
    """

    canvases: Canvases | None
    context: list[int]
    begin: int
    chat: bool
    stops: tuple[str, ...]
    find_end: Callable[[list[int]], int | None] | None


class Planner:
    """Encodes and decodes for many threads.

    Encoding changes a tokenizer for a moment, so that one thread encodes at a time, and decoding
    has a tokenizer of its own.
    """

    def __init__(self, lm: LanguageModel) -> None:
        self.lm = lm
        self.lock = threading.Lock()
        self.reader: Any = deepcopy(lm.tokenizer)
        self.guards = (END_OF_ANSWER, *lm.tokenizer.all_special_tokens)

    def chat(self, body: ChatBody) -> list[Choice]:
        """Raises ValueError naming what is wrong in the request."""
        messages = [message.plain() for message in body.messages]
        if not self.lm.tokenizer.chat_template:
            raise ValueError("messages: this model has no chat format; use /v1/completions")
        num_new = body.max_completion_tokens or body.max_tokens
        return self._generated(body, [messages], num_new, chat=True)

    def completion(self, body: CompletionBody) -> list[Choice]:
        """Raises ValueError naming what is wrong in the request."""
        prompts = body.prompts()
        if body.suffix is not None:
            return self._infilled(body, prompts, body.suffix)
        if body.max_tokens != 0:
            return self._generated(body, prompts, body.max_tokens, chat=False)
        if not body.echo:
            raise ValueError("max_tokens=0 needs echo; with it the prompt is scored")
        with self.lock:
            encoded = prompting.encode(self.lm.tokenizer, prompts, chat=False)
        self.lm.check_ids("prompt", encoded)
        begins = [self._num_begin(prompt) for prompt in prompts]
        return [
            Choice(None, ids, begin, False, (), None)
            for ids, begin in zip(encoded, begins, strict=True)
            for _ in range(body.n)
        ]

    def _num_begin(self, prompt: Any) -> int:
        """Token ids of a request are taken as they are; text gets the begin token."""
        return len(begin_ids(self.reader)) if isinstance(prompt, str) else 0

    def _generated(
        self, body: Sampling, prompts: Sequence[Any], num_new: int | None, *, chat: bool
    ) -> list[Choice]:
        given = {"max_new_tokens": num_new, **body.settings()}
        with self.lock:
            plan = plan_generation(self.lm, prompts, given, chat=chat)
        marker = prompting.end_finder(self.reader) if chat else None
        found: list[Choice] = []
        for prompt, ids, canvas in zip(prompts, plan.prompt_ids, plan.canvases, strict=True):
            begin = 0 if chat else self._num_begin(prompt)
            shared = Choice(None, ids, begin, chat, tuple(body.stops()), None)
            shared = replace(shared, find_end=self._end_finder(shared, marker))
            found += self._rows(body, shared, canvas, plan.settings, plan.end_token_ids)
        return found

    def _infilled(self, body: CompletionBody, prompts: Sequence[Any], suffix: str) -> list[Choice]:
        """As `diffutron.infill`: the space before the gap belongs to what fills it."""
        num_new = DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens
        if num_new < 1:
            raise ValueError("max_tokens=0 leaves nothing to fill before the suffix")
        given = {name: value for name, value in body.settings().items() if value is not None}
        settings = make_settings({"num_steps": num_new, "suppress": self.lm.special_ids, **given})
        found: list[Choice] = []
        for prompt in prompts:
            if not isinstance(prompt, str):
                raise ValueError("prompt: with a suffix it must be text")
            with self.lock:
                texts = [prompt.removesuffix(" "), suffix]
                before, after = encode_texts(self.lm.tokenizer, texts)
                begin, end = begin_ids(self.lm.tokenizer), end_ids(self.lm.tokenizer)
            canvas = [*begin, *before, *[self.lm.mask_token_id] * num_new, *after, *end]
            self.lm.check_ids("prompt and suffix", [canvas])
            shared = Choice(None, [*begin, *before], len(begin), False, tuple(body.stops()), None)
            shared = replace(shared, find_end=self._end_finder(shared, None))
            found += self._rows(body, shared, canvas, settings, [])
        return found

    def _rows(
        self,
        body: Sampling,
        shared: Choice,
        canvas: list[int],
        settings: Settings,
        end_token_ids: Sequence[int],
    ) -> list[Choice]:
        """The `n` choices of a prompt: seed, seed + 1, ... Without a seed it is drawn."""
        first = secrets.randbelow(2**31) if body.seed is None else body.seed
        mask, pad, device = self.lm.mask_token_id, self.lm.pad_token_id, self.lm.device
        return [
            replace(
                shared,
                canvases=Canvases(
                    [canvas], mask, pad, settings, device, seed=seed, end_token_ids=end_token_ids
                ),
            )
            for seed in range(first, first + body.n)
        ]

    def _end_finder(
        self, choice: Choice, marker: Callable[[list[int]], int | None] | None
    ) -> Callable[[list[int]], int | None] | None:
        """Where the closing marker or a stop text is complete."""
        if not choice.stops:
            return marker

        def stopped(ids: list[int]) -> bool:
            text = self.reader.decode(ids, skip_special_tokens=True)
            return any(stop in text for stop in choice.stops)

        def find(ids: list[int]) -> int | None:
            ends = [] if marker is None else [marker(ids)]
            if stopped(ids):
                ends.append(next(n for n in range(1, len(ids) + 1) if stopped(ids[:n])))
            return min((end for end in ends if end is not None), default=None)

        return find

    def text(self, choice: Choice, ids: Sequence[int]) -> str:
        """The text of filled tokens, cut before the first stop text."""
        text = prompting.answer_text(self.reader, ids, chat=choice.chat)
        ends = [text.find(stop) for stop in choice.stops if stop in text]
        return text[: min(ends)] if ends else text

    def text_so_far(self, choice: Choice, ids: Sequence[int]) -> str:
        """What of it no further token can change.

        Half a character, a space at the end of an answer, and what may be the beginning of a
        marker or of a stop text are held back.
        """
        text = self.text(choice, ids).rstrip("\ufffd")
        if choice.chat:
            text = text.rstrip()
        guards = (*self.guards, *choice.stops)
        held = max(
            (
                size
                for guard in guards
                for size in range(1, min(len(guard), len(text) + 1))
                if text.endswith(guard[:size])
            ),
            default=0,
        )
        return text[: len(text) - held]

    def blank(self, choice: Choice) -> dict[str, Any]:
        """What a stream of drafts begins with: how many tokens are to be filled in."""
        canvases = choice.canvases
        return {"positions": 0 if canvases is None else int(canvases.fillable.sum())}

    def draft(self, choice: Choice, events: Sequence[Event]) -> dict[str, Any] | None:
        """What a step committed, as in the file of a trace: `{step, tokens: [...]}`.

        Positions count from the first one that is filled in.
        """
        committed = decode_events(self.reader, events, first=len(choice.context))
        steps: list[dict[str, Any]] = Trace("", "", committed).as_dict()["steps"]
        return steps[0] if steps else None

    def scored_prompt(self, choice: Choice) -> tuple[list[int], list[int]]:
        """What a prompt's tokens are scored after, and the tokens.

        That is the begin token, also where a prompt of ids lacks it, as lm-eval sends them.
        Raises ApiError where it leaves no room.
        """
        begin, prompt = choice.context[: choice.begin], choice.context[choice.begin :]
        usual = begin_ids(self.reader)
        if not begin and prompt[: len(usual)] != usual:
            begin = usual
        if len(begin) + len(prompt) > self.lm.max_length:
            raise ApiError(
                400,
                f"prompt: {len(prompt)} tokens and the begin token are scored together; the "
                f"model holds {self.lm.max_length}",
                param="prompt",
            )
        return begin, prompt

    def prompt_text(self, choice: Choice) -> str:
        return self.reader.decode(choice.context[choice.begin :])

    def finish_reason(self, choice: Choice, row: Denoised) -> str:
        """`stop` where an end token, a marker or a stop text came, else `length`."""
        ended = row.ended or (choice.find_end and choice.find_end(row.token_ids) is not None)
        return "stop" if ended else "length"

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The text of each token; all of them joined are the whole text.

        A character that lies in several tokens belongs to the last of them.
        """
        found: list[str] = []
        start = read = 0
        for stop in range(1, len(ids) + 1):
            before = self.reader.decode(ids[start:read]) if read > start else ""
            now = self.reader.decode(ids[start:stop])
            if now.endswith("\ufffd") and stop < len(ids):
                found.append("")
                continue
            found.append(now[len(before) :])
            start, read = read, stop
        return found
