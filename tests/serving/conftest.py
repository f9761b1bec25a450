"""A tiny model behind a real server on loopback."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn

import diffutron
from diffutron.serving.engine import Engine
from diffutron.serving.metrics import Metrics
from diffutron.serving.server import guarded
from diffutron.serving.service import Service
from diffutron.serving.traffic import Traffic, Version


@pytest.fixture(scope="session")
def lm(tiny_model_dir) -> Any:
    return diffutron.load(tiny_model_dir, device="cpu")


@pytest.fixture
def engine(lm) -> Iterator[Callable[..., Engine]]:
    """`engine(max_batch_tokens=..., max_rows=...)`: one that runs until the end of the test."""
    made: list[Engine] = []

    def make(*, start: bool = True, **options: int) -> Engine:
        made.append(Engine(lm, **{"max_batch_tokens": 2048, "max_rows": 500, **options}))
        if start:
            made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()


def make_service(lm: Any, metrics: Metrics, *, version: int | None = None, **options: Any):
    """A service whose engine has not started."""
    limits = {name: options.get(name, 500) for name in ("max_batch_tokens", "max_rows")}
    timeout = options.get("timeout", 60.0)
    engine = Engine(lm, **limits)
    return Service(lm, engine, name="tiny", timeout=timeout, metrics=metrics, version=version)


@contextmanager
def run_server(lm: Any, *, key: str | None = None, **options: Any) -> Iterator[Any]:
    """`.url`, `.service`; in a thread of this process."""
    service = make_service(lm, Metrics(), **options)
    service.engine.start()
    with run_app(Traffic(Version(service)), key=key) as url:
        yield SimpleNamespace(url=url, service=service)


@contextmanager
def run_app(traffic: Traffic, *, key: str | None = None) -> Iterator[str]:
    """Its address, on loopback."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    ready = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            ready.set()

    app = guarded(traffic, host="127.0.0.1", key=key)
    server = Server(uvicorn.Config(app, lifespan="on", log_level="warning"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def served(lm) -> Iterator[Any]:
    """A server that the tests share."""
    with run_server(lm, max_batch_tokens=2048) as found:
        yield found
