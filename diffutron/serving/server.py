"""`diffutron serve`: load a model, open a port, answer until told to stop."""

import os
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import uvicorn

from diffutron.inference.loading import load
from diffutron.runtime.errors import UserError
from diffutron.serving.engine import Engine, default_batch_tokens
from diffutron.serving.following import Candidates, Follower, Source
from diffutron.serving.guard import Guard
from diffutron.serving.metrics import Metrics
from diffutron.serving.service import Service
from diffutron.serving.traffic import Traffic, Version

KEY = "DIFFUTRON_API_KEY"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def serve(
    model: str,
    *,
    host: str,
    port: int,
    device: str | None,
    dtype: str,
    chat_format: str | None,
    max_batch_tokens: int | None,
    max_rows: int,
    timeout: float,
    grace: float,
    tell: Callable[[str], None],
    source: Source | None = None,
    poll: float = 0.0,
) -> None:
    """Serves a model until SIGTERM or SIGINT; `tell` gets the address once it answers.

    source: where the model's versions come from, asked each `poll` seconds (0: once).

    Raises:
        UserError: the address cannot be had, or is open to others without a key.
        ValueError: the model cannot be had.
    """
    key = os.environ.get(KEY) or None
    if host not in ("127.0.0.1", "localhost", "::1") and key is None:
        raise UserError(
            f"--host {host}: others can reach this address; set {KEY} to a key that clients "
            "must send, or use 127.0.0.1"
        )
    with _listen(host, port) as listener:
        metrics = Metrics()

        def make(folder: str | Path, version: int | None = None) -> Service:
            lm = load(folder, device=device, dtype=dtype, chat_format=chat_format)
            tokens = max_batch_tokens or default_batch_tokens(lm)
            engine = Engine(lm, max_batch_tokens=tokens, max_rows=max_rows)
            name = model_id(model)
            return Service(lm, engine, name=name, timeout=timeout, metrics=metrics, version=version)

        following: AbstractContextManager[Any] = nullcontext()
        if source is None:
            service = make(model)
            service.engine.start()
            traffic = Traffic(Version(service))
        else:
            candidates = Candidates(source, make)
            traffic = Traffic(candidates.tried(source.version()))
            if poll:
                following = Follower(traffic, candidates, seconds=poll, tell=tell)
        with following:
            _run(traffic, listener, host=host, key=key, grace=grace, tell=tell)


def model_id(model: str) -> str:
    """The alias, or the last part of the path or name."""
    if model.startswith("models:/") and "@" in model:
        return model.rpartition("@")[2]
    if Path(model).is_dir():
        return Path(model).resolve().name
    return model.partition("@")[0].rstrip("/").rpartition("/")[2]


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket, before the model is loaded: a port that is taken is told at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UserError(
            f"--host {host} --port {port}: cannot be opened ({error.strerror}); choose another"
        ) from error
    return listener


def guarded(traffic: Traffic, *, host: str, key: str | None) -> Guard:
    """The application behind its checks. With a key any Host header is good, as a page that was
    led here by a false name has no key."""
    hosts = {*LOOPBACK, host.lower()} if key is None else None
    return Guard(traffic, hosts=hosts, key=key)


class _Server(uvicorn.Server):
    """Says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.ready()


def _run(
    traffic: Traffic,
    listener: socket.socket,
    *,
    host: str,
    key: str | None,
    grace: float,
    tell: Callable[[str], None],
) -> None:
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        guarded(traffic, host=host, key=key),
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(grace)),
    )
    # uvicorn raises the signal again when it has ended; this makes that the end with code 0
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    name = traffic.current.service.name
    server = _Server(config, lambda: tell(f"serving {name} at {address}"))
    server.run(sockets=[listener])
