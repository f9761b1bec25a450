"""An alias of the registry is followed: where it moves to is fetched, tried, and then served."""

import gc
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Protocol

import diffutron
from diffutron.inference.language_model import LanguageModel
from diffutron.runtime.errors import UserError
from diffutron.serving.service import Service
from diffutron.serving.traffic import Traffic, Version

PROMPT = "Türkiye'nin başkenti neresidir?"


class Source(Protocol):
    """An alias. What raises UserError in the first two may go well later."""

    def version(self) -> int:
        """The version that it names now."""
        ...

    def download(self, version: int, folder: Path) -> Path:
        """The model folder of a version, below `folder`."""
        ...

    def verify(self, version: int, model: Path) -> None:
        """Raises UserError for a folder that is not what was registered."""
        ...


class Refused(UserError):
    """A version failed its test."""


class Candidates:
    """make: the service of a model folder and its version; its engine has not started."""

    def __init__(self, source: Source, make: Callable[[Path, int], Service]) -> None:
        self.source, self.make = source, make

    def tried(self, number: int) -> Version:
        """A version that has answered. Raises Refused, and UserError where it cannot be had."""
        with ExitStack() as files:
            folder = files.enter_context(TemporaryDirectory(prefix="diffutron-serve-"))
            model = self.source.download(number, Path(folder))
            with ThreadPoolExecutor(1, thread_name_prefix="candidate") as thread:
                trial = thread.submit(self._try, number, model)
                error = trial.exception()  # there is no list of what a broken model may raise
            if error is not None:
                reason = " ".join(str(error).split()) or type(error).__name__
                raise Refused(f"version {number} failed its test: {reason[:500]}") from error
            return Version(trial.result(), files.pop_all())

    def _try(self, number: int, model: Path) -> Service:
        self.source.verify(number, model)
        service = self.make(model, number)
        smoke_test(service.lm)
        with ExitStack() as stack:
            stack.callback(service.stop)
            service.engine.start()
            service.engine.run(lambda: answer(service.lm))  # the first pass of a thread is slow
            stack.pop_all()
        return service


def answer(lm: LanguageModel) -> None:
    diffutron.generate(lm, [PROMPT], max_new_tokens=8, num_steps=8, block_length=8)


def smoke_test(lm: LanguageModel) -> None:
    """It answers a prompt and scores a text. Raises ValueError."""
    answer(lm)
    (bound,) = diffutron.nelbo(lm, [PROMPT], num_samples=4)
    if not math.isfinite(bound.nats):
        raise ValueError(f"the likelihood of a text is {bound.nats}")


class Follower:
    """A thread that looks at the alias each `seconds`; `tell` gets a line for each change."""

    def __init__(
        self,
        traffic: Traffic,
        candidates: Candidates,
        *,
        seconds: float,
        tell: Callable[[str], None],
    ) -> None:
        self.traffic, self.candidates = traffic, candidates
        self.seconds, self.tell = seconds, tell
        self.refused: dict[str, Any] | None = None
        self.trouble: str | None = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def __enter__(self) -> "Follower":
        self.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self.thread.join()

    def _run(self) -> None:
        while not self.stopping.wait(self.seconds):
            self.look()

    def look(self) -> None:
        """Serves the version that the alias names, if it may and can be had."""
        trouble = None
        try:
            self._follow(self.candidates.source.version())
        except (UserError, OSError) as error:
            trouble = " ".join(str(error).split())
        at_work = self.traffic.current.service
        if trouble and not self.trouble:
            self.tell(f"registry: {trouble}; version {at_work.version} goes on")
        elif self.trouble and not trouble:
            self.tell(f"registry: back; version {at_work.version} is served")
        self.trouble = trouble
        found = {"refused": self.refused, "registry": trouble}
        at_work.remarks = {name: value for name, value in found.items() if value}

    def _follow(self, number: int) -> None:
        at_work = self.traffic.current.service
        if number == at_work.version:
            self.refused = None
        elif self.refused is None or self.refused["version"] != number:
            reason = ""
            try:
                self.traffic.move(self.candidates.tried(number))
            except Refused as error:
                reason = str(error)
            if reason:
                self.refused = {"version": number, "reason": reason}
                at_work.metrics.not_taken.inc()
                self.tell(f"{reason}; version {at_work.version} goes on")
                gc.collect()  # its memory
            else:
                self.refused = None
                self.tell(f"version {number} is served in place of version {at_work.version}")
