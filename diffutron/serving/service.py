"""Between the HTTP requests, which are asynchronous, and the engine, which is a thread."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from diffutron.diffusion.likelihood.any_order import Score
from diffutron.diffusion.likelihood.left_to_right import LeftToRight, left_to_right
from diffutron.diffusion.sampling.canvas import Denoised
from diffutron.inference.bounds import EncodedTexts, bound_texts, encode_for_bound
from diffutron.inference.decisions import score_questions
from diffutron.inference.language_model import LanguageModel
from diffutron.inference.results import Bound
from diffutron.modeling.encoding import EncodedPair
from diffutron.modeling.head import logprob_fn
from diffutron.serving.choices import Choice, Planner
from diffutron.serving.engine import Engine, Late, Progress, QueueFull, Row, Stopping
from diffutron.serving.errors import ApiError
from diffutron.serving.metrics import Metrics

T = TypeVar("T")
SCORERS = 4  # requests that are scored side by side; their passes take turns


class Gone(Exception):
    """Nobody waits for the scores any more."""


class Service:
    """One model, ready to answer.

    version: its number in the registry, or None. metrics: those of the server. remarks: what
    `/ready` tells beside it.
    """

    def __init__(
        self,
        lm: LanguageModel,
        engine: Engine,
        *,
        name: str,
        timeout: float,
        metrics: Metrics,
        version: int | None = None,
    ) -> None:
        self.lm, self.engine, self.name, self.timeout = lm, engine, name, timeout
        self.metrics, self.version = metrics, version
        self.remarks: dict[str, Any] = {}
        self.planner = Planner(lm)
        self.logprob_fn = logprob_fn(lm.model, mask_token_id=lm.mask_token_id)
        self.scorers = ThreadPoolExecutor(SCORERS, thread_name_prefix="scorer")
        self.created = int(time.time())

    def stop(self) -> None:
        self.engine.stop()
        self.scorers.shutdown(wait=True, cancel_futures=True)

    def check_model(self, name: str | None) -> None:
        if name is not None and name != self.name:
            message = f"model {name!r} is not served here; there is {self.name}"
            raise ApiError(404, message, param="model", code="model_not_found")

    def check_count(self, count: int) -> None:
        """Refuses what would not fit an empty engine either."""
        if count > self.engine.max_rows:
            raise ApiError(
                400, f"the request asks for {count} texts; the limit is {self.engine.max_rows}"
            )

    async def plan(self, work: Callable[[Any], T], body: Any) -> T:
        """Encodes off the event loop; what is wrong in the request is its sender's to mend."""
        try:
            return await asyncio.to_thread(work, body)
        except ValueError as error:
            message = str(error)
            raise ApiError(400, message, param=_param(message, body)) from error

    def answer(
        self, choices: Sequence[Choice], *, streams: bool, drafts: bool = False
    ) -> "Answering":
        """Lets the rows of all choices in. Raises ApiError where there is no room."""
        with told_as_api_error():
            return Answering(self, choices, streams=streams, drafts=drafts)

    async def encode_texts(self, texts: list[str]) -> EncodedTexts:
        def encode(texts: list[str]) -> EncodedTexts:
            with self.planner.lock:
                return encode_for_bound(self.lm, texts)

        return await self.plan(encode, texts)

    async def score(self, encoded: EncodedTexts, *, samples: int, seed: int) -> list[Bound]:
        """As `diffutron.nelbo`, each model pass between two steps of the sampler."""

        def work(run: Callable[[Callable[[], Any]], Any]) -> list[Bound]:
            return bound_texts(
                self.lm,
                lambda *asked: run(lambda: self.logprob_fn(*asked)),
                encoded,
                num_samples=samples,
                batch_tokens=self.engine.max_batch_tokens,
                seed=seed,
            )

        return await self._scored(work)

    async def score_options(self, encoded: Sequence[Sequence[EncodedPair]]) -> list[list[Score]]:
        """As `diffutron.decide` scores the options of each question."""

        def work(run: Callable[[Callable[[], Any]], Any]) -> list[list[Score]]:
            return score_questions(
                self.lm,
                lambda *asked: run(lambda: self.logprob_fn(*asked)),
                encoded,
                batch_tokens=self.engine.max_batch_tokens,
            )

        return await self._scored(work)

    async def left_to_right(
        self, context: Sequence[int], ids: Sequence[int], *, top: int
    ) -> LeftToRight:
        def work(run: Callable[[Callable[[], Any]], Any]) -> LeftToRight:
            return left_to_right(
                lambda *asked: run(lambda: self.engine.logits_fn(*asked)),
                context,
                ids,
                mask_token_id=self.lm.mask_token_id,
                batch_rows=max(1, self.engine.max_batch_tokens // (len(context) + len(ids))),
                top=top,
                device=self.lm.device,
            )

        return await self._scored(work)

    async def _scored(self, work: Callable[[Callable[[Callable[[], Any]], Any]], T]) -> T:
        """Runs the library's scoring in a thread of its own, its model passes in the engine."""
        gone = False
        deadline = time.monotonic() + self.timeout

        def run(model_pass: Callable[[], Any]) -> Any:
            if gone:
                raise Gone
            if time.monotonic() > deadline:
                raise Late("the request's time is up")
            return self.engine.run(model_pass)

        with told_as_api_error():
            self.engine.hold(1)
            try:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self.scorers, work, run)
            finally:
                gone = True
                self.engine.release(1)


class Answering:
    """The rows of a request, and what the engine tells of them."""

    def __init__(
        self, service: Service, choices: Sequence[Choice], *, streams: bool, drafts: bool
    ) -> None:
        self.service, self.choices = service, choices
        loop = asyncio.get_running_loop()
        self.told: asyncio.Queue[tuple[int, Progress]] = asyncio.Queue()
        deadline = time.monotonic() + service.timeout

        def tell(number: int) -> Callable[[Progress], None]:
            return lambda progress: _post(loop, self.told, (number, progress))

        self.rows = {
            number: Row(
                choice.canvases,
                deadline=deadline,
                tell=tell(number),
                find_end=choice.find_end,
                streams=streams,
                drafts=drafts,
            )
            for number, choice in enumerate(choices)
            if choice.canvases is not None
        }
        service.engine.submit([*self.rows.values()])

    async def progress(self) -> AsyncIterator[tuple[int, Progress]]:
        """What happens to the rows, until all are finished. Raises ApiError.

        Rows that nobody listens to any more leave at the next step.
        """
        metrics, begun = self.service.metrics, set[int]()
        left = len(self.rows)
        try:
            while left:
                number, progress = await self.told.get()
                now = time.monotonic()
                with told_as_api_error():
                    if progress.error is not None:
                        raise progress.error
                row = self.rows[number]
                if progress.final_ids and number not in begun:
                    begun.add(number)
                    metrics.first_token.observe(now - row.arrived)
                if progress.result is not None:
                    left -= 1
                    choice = self.choices[number]
                    reason = self.service.planner.finish_reason(choice, progress.result)
                    metrics.prompt_tokens.inc(len(choice.context))
                    metrics.row_finished(row, now=now, reason=reason)
                yield number, progress
        finally:
            for row in self.rows.values():
                row.gone = True

    async def results(self) -> list[Denoised]:
        """The finished rows; an empty one where nothing was to be generated."""
        found = [Denoised() for _ in self.choices]
        async for number, progress in self.progress():
            if progress.result is not None:
                found[number] = progress.result
        return found


def _post(loop: asyncio.AbstractEventLoop, told: "asyncio.Queue[Any]", item: Any) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(told.put_nowait, item)


@contextmanager
def told_as_api_error() -> Iterator[None]:
    """What the engine refuses or fails at, as the client is told it."""
    try:
        yield
    except QueueFull as error:
        raise ApiError(
            429, f"{error}; try again later", code="queue_full", headers={"Retry-After": "1"}
        ) from error
    except Late as error:
        raise ApiError(408, f"{error}; ask for fewer steps or tokens", code="timeout") from error
    except Stopping as error:
        raise ApiError(503, str(error), headers={"Retry-After": "5"}) from error
    except (ValueError, RuntimeError, MemoryError) as error:
        raise ApiError(500, f"the model failed: {error}") from error


def _param(message: str, body: Any) -> str | None:
    """The field that a message begins with."""
    name = message.split("=")[0].split(":")[0].split(" ")[0]
    renamed = {"max_new_tokens": "max_tokens", "prompts": "prompt"}
    name = renamed.get(name, name)
    if name == "prompt" and not hasattr(body, "prompt"):
        name = "messages"
    return name if hasattr(body, name) and name.isidentifier() else None
