"""The engine: one model pass after another, each for rows of many requests.

Rows join between two steps of the sampler and leave when they are finished, so a short answer does
not wait for a long one. A row's text is that of `diffutron.generate`, whatever its company.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import torch

from diffutron.diffusion.sampling.canvas import Canvases, Denoised, Event
from diffutron.diffusion.sampling.denoise import step
from diffutron.diffusion.sampling.settings import Settings
from diffutron.inference.language_model import LanguageModel
from diffutron.modeling.head import logits_fn

FAULTS = (ValueError, RuntimeError, MemoryError)  # of one pass; others end the server
FILLED = 0.7  # at least this share of a pass are tokens, the rest is padding


class QueueFull(Exception):
    """The engine holds as many rows as it may."""


class Late(Exception):
    """The deadline of a request has passed."""


class Stopping(Exception):
    """The engine stops, or has failed."""


class Progress(NamedTuple):
    """final_ids: the filled tokens from the left that no later step changes.

    result: the finished row. error: why there will be none. events: what the step committed, of a
    row with drafts.
    """

    final_ids: list[int]
    result: Denoised | None = None
    error: Exception | None = None
    events: Sequence[Event] = ()


class Row:
    """A row to fill, and who is told of it.

    canvases: its one row. deadline: by `time.monotonic`. streams: `tell` is called when more text
    is final and not at the end alone. drafts: it is called after each step, with the events of the
    step. `tell` is called in the engine's thread.
    """

    def __init__(
        self,
        canvases: Canvases,
        *,
        deadline: float,
        tell: Callable[[Progress], None],
        find_end: Callable[[list[int]], int | None] | None = None,
        streams: bool = False,
        drafts: bool = False,
    ) -> None:
        self.canvases, self.deadline, self.tell = canvases, deadline, tell
        self.find_end, self.streams, self.drafts = find_end, streams, drafts
        self.length = int(canvases.length[0])
        self.copies = 2 if canvases.rules[0].settings.guidance else 1
        self.gone = False  # set by whoever no longer wants it
        self.num_steps = self.gap = self.final = 0
        self.last_pass = 0
        self.arrived = time.monotonic()
        self.started: float | None = None


class Engine:
    """A thread that owns the model."""

    def __init__(self, lm: LanguageModel, *, max_batch_tokens: int, max_rows: int) -> None:
        self.lm = lm
        self.max_batch_tokens, self.max_rows = max_batch_tokens, max_rows
        self.logits_fn = logits_fn(lm.model, mask_token_id=lm.mask_token_id)
        self.num_passes = self.num_row_passes = self.num_committed = self.num_running = 0
        self.changed = threading.Condition()
        self.num_held = 0  # rows and other work that has been let in and not ended
        self.arrivals: deque[Row] = deque()
        self.work: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self.stopping = False
        self.rows: list[Row] = []
        none: list[list[int]] = []
        self.state = Canvases(
            none, lm.mask_token_id, lm.pad_token_id, Settings(num_steps=1), lm.device
        )
        self.thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """Ends after the pass under way; rows that are left are told `Stopping`."""
        with self.changed:
            self.stopping = True
            self.changed.notify_all()
        if self.thread.is_alive():
            self.thread.join()

    @property
    def alive(self) -> bool:
        return self.thread.is_alive() and not self.stopping

    def submit(self, rows: Sequence[Row]) -> None:
        """Lets rows in, all or none. Raises QueueFull, and Stopping."""
        with self.changed:  # taken again by `hold`
            self.hold(len(rows))
            self.arrivals.extend(rows)
            self.changed.notify_all()

    def hold(self, count: int) -> None:
        """Counts work against the bound until `release`. Raises QueueFull, and Stopping."""
        with self.changed:
            if not self.alive:
                raise Stopping("the server is stopping")
            if self.num_held + count > self.max_rows:
                raise QueueFull(f"the server holds {self.num_held} of {self.max_rows} rows")
            self.num_held += count

    def release(self, count: int) -> None:
        with self.changed:
            self.num_held -= count

    def run(self, work: Callable[[], Any]) -> Any:
        """Runs a model pass of another kind between two steps, and waits for what it returns.

        Not for the engine's own thread. Raises Stopping.
        """
        future: Future[Any] = Future()
        with self.changed:
            if not self.alive:
                raise Stopping("the server is stopping")
            self.work.append((work, future))
            self.changed.notify_all()
        return future.result()

    def _run(self) -> None:
        try:
            while True:
                with self.changed:
                    while not (self.stopping or self.arrivals or self.work or self.rows):
                        self.changed.wait()
                    if self.stopping:
                        return
                    arrivals = [self.arrivals.popleft() for _ in range(len(self.arrivals))]
                    other = self.work.popleft() if self.work else None
                self._admit(arrivals)
                self._retire()
                if other:
                    self._work(*other)
                if self.rows:
                    self._step()
                self.num_running = 0 if not self.rows else self.num_running
        finally:
            self._end()

    def _end(self) -> None:
        with self.changed:
            self.stopping = True
            left, work = [*self.rows, *self.arrivals], [*self.work]
            self.rows, self.num_held = [], 0
            self.arrivals.clear()
            self.work.clear()
        for row in left:
            row.tell(Progress([], error=Stopping("the server is stopping")))
        for _, future in work:
            future.set_exception(Stopping("the server is stopping"))

    def _admit(self, arrivals: Sequence[Row]) -> None:
        for row in arrivals:
            row.last_pass = self.num_passes
            self.state.join(row.canvases)
            self.rows.append(row)

    def _retire(self) -> None:
        """Drops rows that nobody wants any more, and those past their deadline."""
        now = time.monotonic()
        late = [row for row in self.rows if not row.gone and row.deadline <= now]
        for row in late:
            row.gone = True
            row.tell(Progress([], error=Late("the request's time is up")))
        self._drop([number for number, row in enumerate(self.rows) if row.gone])

    def _drop(self, numbers: Sequence[int]) -> None:
        if numbers:
            out = {*numbers}
            kept = [number for number in range(len(self.rows)) if number not in out]
            self.state.keep(kept)
            self.rows = [self.rows[number] for number in kept]
            self.release(len(out))

    def _work(self, work: Callable[[], Any], future: "Future[Any]") -> None:
        try:
            future.set_result(work())
        except FAULTS as error:
            future.set_exception(error)  # whoever waits for it raises it
        finally:
            if not future.done():
                future.set_exception(Stopping("the server has failed"))

    def _step(self) -> None:
        numbers = choose(
            [row.length for row in self.rows],
            [row.last_pass for row in self.rows],
            [row.copies for row in self.rows],
            max_tokens=self.max_batch_tokens,
        )
        chosen = [self.rows[number] for number in numbers]
        self.num_running = len(numbers)
        self.num_passes += 1
        self.num_row_passes += len(numbers)
        now = time.monotonic()
        for row in chosen:
            row.started = row.started or now
            row.last_pass = self.num_passes
            row.num_steps += 1
        try:
            events = step(
                self.logits_fn,
                self.state,
                torch.tensor(numbers, device=self.lm.device),
                record=any(row.drafts for row in chosen),
            )
        except FAULTS as error:
            for row in chosen:
                row.tell(Progress([], error=error))
            self._drop(numbers)
            return
        self._tell(numbers, events)

    def _tell(self, numbers: Sequence[int], events: Sequence[Sequence[Event]]) -> None:
        """Ends rows by their own rule, tells of what is final, and lets the finished ones go.

        There is something new to be read where a row's first gap has moved to the right.
        """
        state, rows = self.state, torch.tensor(numbers, device=self.lm.device)
        for number, gap in zip(numbers, state.gaps(rows), strict=True):
            row = self.rows[number]
            if row.find_end is not None and gap > row.gap:
                state.cut(number, row.find_end(state.filled(number, gap)))
            row.gap = gap
        alive: list[bool] = state.alive.tolist()
        finals = state.gaps(rows, settled=True)
        for number, final, committed in zip(numbers, finals, events, strict=True):
            row = self.rows[number]
            told = committed if row.drafts else ()
            if not alive[number]:
                result = Denoised(num_steps=row.num_steps)
                result.token_ids, result.canvas, result.ended = state.result(number)
                self.num_committed += len(result.token_ids)
                row.tell(Progress(result.token_ids, result, events=told))
            elif row.drafts or (row.streams and final > row.final):
                row.final = final
                row.tell(Progress(state.filled(number, final), events=told))
        self._drop([number for number in numbers if not alive[number]])


def choose(
    lengths: Sequence[int], last_passes: Sequence[int], copies: Sequence[int], *, max_tokens: int
) -> list[int]:
    """The rows of the next pass: the one that has waited longest, then others in that order.

    They take part while the padded pass holds at most `max_tokens` and is filled enough. A row
    that was passed over comes first in time, however long the others are.
    """
    order = sorted(range(len(lengths)), key=lambda number: last_passes[number])
    chosen: list[int] = []
    width = num_rows = num_real = 0
    for number in order:
        new_width = max(width, lengths[number])
        new_rows = num_rows + copies[number]
        new_real = num_real + copies[number] * lengths[number]
        padded = new_width * new_rows
        if chosen and (padded > max_tokens or new_real < FILLED * padded):
            continue
        chosen.append(number)
        width, num_rows, num_real = new_width, new_rows, new_real
    return sorted(chosen)


def default_batch_tokens(lm: LanguageModel) -> int:
    """Tokens of a pass such that logits at all of them take a quarter of the free memory.

    From 256 to 16 384. The sampler holds about three arrays of that size.
    """
    if lm.device.type == "cuda":
        free = torch.cuda.mem_get_info(lm.device)[0]  # cuda only
    else:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(min(16_384, max(256, free // 4 // (3 * 4 * lm.vocab_size))))
