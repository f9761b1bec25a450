"""Which version answers: a request belongs, whole, to the one that serves when it comes."""

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import torch
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from diffutron.serving.app import make_app
from diffutron.serving.service import Service


class Version:
    """A model at work and the requests that it has. `files`: what goes when it ends."""

    def __init__(self, service: Service, files: ExitStack | None = None) -> None:
        self.service = service
        self.files = files or ExitStack()
        self.num_requests = 0
        service.metrics.engines.add(service.engine)

    def end(self) -> None:
        """Stops the engine, and removes the files."""
        self.service.stop()
        self.service.metrics.engines.drop(self.service.engine)
        self.files.close()


class Traffic:
    """The application of the server: the versions come and go behind it.

    A version ends with its last request. Behind it may be a client that reads no further: after
    the time that a request may take, a version ends as soon as its engine holds nothing.
    """

    def __init__(self, current: Version) -> None:
        self.changed = threading.Condition()
        self.stopped = False
        self.ending: list[threading.Thread] = []
        self.lifespan: ASGIApp = Router(lifespan=self._lifespan)
        self.app, self.current = make_app(), current
        self._tell()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.lifespan(scope, receive, send)
            return
        with self.changed:
            version = self.current
            version.num_requests += 1
        try:
            await self.app({**scope, "service": version.service}, receive, send)
        finally:
            with self.changed:
                version.num_requests -= 1
                self.changed.notify_all()

    def move(self, version: Version) -> None:
        """New requests go to this version; the other ends when those that it has are answered."""
        with self.changed:
            if self.stopped:
                version.end()
                return
            self.current, old = version, self.current
            ending = threading.Thread(target=self._end, args=(old,), name="ending version")
            self.ending = [thread for thread in self.ending if thread.is_alive()] + [ending]
            ending.start()
        self._tell()
        version.service.metrics.taken.inc()

    def _tell(self) -> None:
        service = self.current.service
        if service.version is not None:
            service.metrics.version.set(service.version)

    def _end(self, old: Version) -> None:
        engine = old.service.engine
        patience = time.monotonic() + old.service.timeout
        with self.changed:
            while old.num_requests and not self.stopped:
                if time.monotonic() > patience and engine.num_held == 0:
                    break
                self.changed.wait(1.0)
        old.end()
        del old.service, engine
        gc.collect()  # a circle of objects may hold the model
        torch.cuda.empty_cache()  # cuda only

    @asynccontextmanager
    async def _lifespan(self, _: object) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(self.stop)

    def stop(self) -> None:
        """Ends all versions; a request that is left is told that the server stops."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()
        for thread in self.ending:
            thread.join()
        self.current.end()
