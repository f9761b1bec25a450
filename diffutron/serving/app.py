"""The routes of the server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Annotated, Any

import torch
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from diffutron.diffusion.likelihood.left_to_right import LeftToRight
from diffutron.diffusion.sampling.canvas import Denoised
from diffutron.serving.bodies import ChatBody, CompletionBody, ScoreBody
from diffutron.serving.choices import Choice
from diffutron.serving.errors import ApiError
from diffutron.serving.page import add_page
from diffutron.serving.service import Answering, Service
from diffutron.serving.systemone import DecisionBody, decide
from diffutron.serving.wire import Wire, event, logprobs, usage


async def _served(request: Request) -> Service:
    return request.scope["service"]


Served = Annotated[Service, Depends(_served)]


def make_app() -> FastAPI:
    """The application. A request brings the service that answers it in its scope.

    No route may hold a service: FastAPI keeps routes in caches of its own.
    """
    app = FastAPI(title="diffutron", docs_url=None, redoc_url=None)
    _add_errors(app)
    _add_state(app)
    add_page(app)

    @app.post("/v1/chat/completions")
    async def chat(body: ChatBody, request: Request, service: Served) -> Any:
        service.check_model(body.model)
        service.check_count(body.n)
        choices = await service.plan(service.planner.chat, body)
        return await _respond(service, body, choices, request, chat=True)

    @app.post("/v1/completions")
    async def complete(body: CompletionBody, request: Request, service: Served) -> Any:
        service.check_model(body.model)
        if body.stream and body.logprobs is not None:
            raise ApiError(400, "logprobs are not streamed; leave one out", param="logprobs")
        count = body.n * len(await service.plan(CompletionBody.prompts, body))
        service.check_count(count)
        choices = await service.plan(service.planner.completion, body)
        return await _respond(service, body, choices, request, chat=False)

    @app.post("/v1/score")
    async def score(body: ScoreBody, request: Request, service: Served) -> Any:
        service.check_model(body.model)
        encoded = await service.encode_texts(body.texts())
        scoring = service.score(encoded, samples=body.samples, seed=body.seed)
        found = await _unless_gone(request, scoring)
        return {
            "object": "list",
            "model": service.name,
            "data": [
                {
                    "index": number,
                    "nll": bound.nats,
                    "standard_error": bound.stderr,
                    "tokens": bound.num_tokens,
                    "bits_per_byte": bound.bits_per_byte,
                }
                for number, bound in enumerate(found)
            ],
        }

    @app.post("/v1/systemone")
    async def systemone(body: DecisionBody, request: Request, service: Served) -> Any:
        service.check_model(body.model)
        return await _unless_gone(request, decide(service, body))

    return app


def _add_state(app: FastAPI) -> None:
    @app.get("/v1/models")
    async def models(service: Served) -> Any:
        one = {
            "id": service.name,
            "object": "model",
            "created": service.created,
            "owned_by": "diffutron",
            "max_model_len": service.lm.max_length,
            "version": service.version,
        }
        return {"object": "list", "data": [one]}

    @app.get("/health")
    async def health(service: Served) -> Any:
        if not service.engine.alive:
            raise ApiError(503, "the engine has stopped")
        return {"status": "ok"}

    @app.get("/ready")
    async def ready(service: Served) -> Any:
        if not service.engine.alive:
            raise ApiError(503, "the engine has stopped")
        told = {"status": "ready", "model": service.name, "version": service.version}
        return told | service.remarks

    @app.get("/metrics")
    async def metrics(service: Served) -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_errors(app: FastAPI) -> None:
    def respond(request: Request, error: ApiError) -> Response:
        service: Service = request.scope["service"]
        service.metrics.refused.labels(str(error.status)).inc()
        return error.response()

    @app.exception_handler(ApiError)
    async def told(request: Request, error: ApiError) -> Response:
        return respond(request, error)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return respond(
            request, ApiError(error.status_code, str(error.detail), headers=error.headers)
        )

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        """The first field that is wrong, without what it held."""
        first = error.errors()[0]
        path = [str(part) for part in first["loc"] if part != "body"]
        field, message = path[0] if path else None, first["msg"]
        where = ".".join(path[:3]) if field == "messages" else field or "body"
        if first["type"] == "extra_forbidden":
            message = "there is no such field here"
        elif first["type"] == "json_invalid":
            field, where, message = None, "body", f"it is no JSON ({message})"
        elif field == "prompt" and "unicode" not in message:
            message = "need a text, token ids, or a list of them"
        return respond(request, ApiError(400, f"{where[:200]}: {message}", param=field))


async def _respond(
    service: Service,
    body: ChatBody | CompletionBody,
    choices: list[Choice],
    request: Request,
    *,
    chat: bool,
) -> Any:
    wire = Wire(service.name, chat=chat)
    answering = service.answer(choices, streams=body.stream, drafts=body.drafts)
    if body.stream:
        events = _events(service, body, wire, answering)
        return StreamingResponse(events, media_type="text/event-stream")
    return await _unless_gone(request, _whole(service, body, wire, answering))


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Any]) -> Any:
    """What the work returns; it is broken off where the client goes away before."""
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ApiError(499, "the client went away")  # nobody reads it
        return task.result()
    finally:
        for one in (task, watch):
            one.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _whole(
    service: Service, body: ChatBody | CompletionBody, wire: Wire, answering: Answering
) -> dict[str, Any]:
    planner, choices = service.planner, answering.choices
    rows = await answering.results()
    found: list[dict[str, Any]] = []
    for index, (choice, row) in enumerate(zip(choices, rows, strict=True)):
        text, told = planner.text(choice, row.token_ids), None
        if isinstance(body, CompletionBody):
            if body.logprobs is not None:
                told = await _logprobs(service, body, choice, row)
            text = planner.prompt_text(choice) + text if body.echo else text
        reason = planner.finish_reason(choice, row)
        found.append(wire.choice(index, text, reason, told))
    return wire.whole(found, _usage(choices, rows, n=body.n))


def _usage(choices: Any, rows: list[Denoised], *, n: int) -> dict[str, int]:
    """A prompt counts once, however many texts were made of it."""
    prompts = sum(len(choice.context) for choice in choices[::n])
    return usage(prompts, sum(len(row.token_ids) for row in rows))


async def _logprobs(
    service: Service, body: CompletionBody, choice: Choice, row: Denoised
) -> dict[str, Any]:
    """log p of each token in the order from the left to the right.

    Tokens of the prompt are scored without what was generated after them, as in offline scoring.
    """
    if body.suffix is not None:
        raise ApiError(400, "logprobs have no order from the left with a suffix", param="logprobs")
    planner, top = service.planner, body.logprobs or 0
    parts: list[LeftToRight] = []
    ids: list[int] = []
    if body.echo:
        begin, prompt = planner.scored_prompt(choice)
        parts.append(await service.left_to_right(begin, prompt, top=top))
        ids += prompt
    if row.token_ids:
        parts.append(await service.left_to_right(choice.context, row.token_ids, top=top))
        ids += row.token_ids
    joined = [torch.cat(values) for values in zip(*parts, strict=True)] if parts else None
    if joined is None:
        return {"tokens": [], "token_logprobs": [], "top_logprobs": None, "text_offset": []}
    scored = LeftToRight(*joined)
    tops = [[planner.reader.decode([token]) for token in row] for row in scored.top_tokens.tolist()]
    return logprobs(planner.pieces(ids), scored, tops, top=top)


async def _events(
    service: Service, body: ChatBody | CompletionBody, wire: Wire, answering: Answering
) -> AsyncIterator[str]:
    """The stream: text as it becomes final from the left, and each step's draft if asked for."""
    planner, choices = service.planner, answering.choices
    sent = [""] * len(choices)
    rows = [Denoised() for _ in choices]
    for index, choice in enumerate(choices):
        echoed = isinstance(body, CompletionBody) and body.echo
        start = planner.blank(choice) if body.drafts else None
        text = planner.prompt_text(choice) if echoed else ""
        yield wire.chunk(index, text, first=True, draft=start)
    try:
        async with contextlib.aclosing(answering.progress()) as told:  # type: ignore[type-var]
            async for index, progress in told:
                choice, row = choices[index], progress.result
                if row is None:
                    text = planner.text_so_far(choice, progress.final_ids)
                else:
                    rows[index], text = row, planner.text(choice, row.token_ids)
                new = text[len(sent[index]) :] if text.startswith(sent[index]) else ""
                sent[index] += new
                draft = planner.draft(choice, progress.events)
                if row is not None:
                    reason = planner.finish_reason(choice, row)
                    yield wire.chunk(index, new, reason, draft=draft)
                elif new or draft:
                    yield wire.chunk(index, new, draft=draft)
    except ApiError as error:
        yield event(error.body)
        return
    if body.stream_options and body.stream_options.include_usage:
        yield wire.usage_chunk(_usage(choices, rows, n=body.n))
    yield "data: [DONE]\n\n"
