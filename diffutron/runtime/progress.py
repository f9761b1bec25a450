"""Progress of long work: a bar on a terminal, a plain line every few seconds elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Self, TypeVar

T = TypeVar("T")
INTERVAL = 5.0  # seconds between plain lines


class Progress:
    """`with Progress(total=100, desc="pretrain", unit="step") as bar: bar.update(1)`.

    Speed and time left are counted from `initial`, so a resumed run does not look too fast.
    """

    def __init__(
        self,
        *,
        total: int | None,
        desc: str,
        unit: str = "it",
        initial: int = 0,
        enabled: bool = True,
    ):
        self.total, self.desc, self.unit = total, desc, unit
        self.done = self.initial = initial
        self.enabled = enabled
        self.postfix: dict[str, object] = {}
        self.started = self.printed = time.monotonic()
        self._bar = None

    def __enter__(self) -> Self:
        if self.enabled and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=self.total,
                desc=self.desc,
                unit=self.unit,
                initial=self.initial,
                dynamic_ncols=True,
            )
        return self

    def update(self, n: int = 1, *, postfix: dict[str, object] | None = None) -> None:
        self.done += n
        self.postfix = postfix or self.postfix
        if self._bar is not None:
            self._bar.set_postfix(self.postfix, refresh=False)
            self._bar.update(n)
        elif self.enabled and time.monotonic() - self.printed >= INTERVAL:
            self._print()

    def skip(self, n: int) -> None:
        """Count what cost nothing (cached, or done elsewhere) as done, but not as speed."""
        self.done += n
        self.initial += n
        if self._bar is not None:
            self._bar.initial += n
            self._bar.update(n)

    def line(self) -> str:
        """`pretrain: 120/2000 steps (6 %), 35.1 steps/s, 0:00:53 left, loss 3.1`."""
        elapsed = max(time.monotonic() - self.started, 1e-9)
        speed = (self.done - self.initial) / elapsed
        text = f"{self.desc}: {self.done}"
        if self.total:
            text += f"/{self.total} ({100 * self.done / self.total:.0f} %)"
        text += f", {speed:.1f} {self.unit}/s"
        if self.total and speed > 0:
            left = timedelta(seconds=round((self.total - self.done) / speed))
            text += f", {left} left"
        return text + "".join(f", {key} {value}" for key, value in self.postfix.items())

    def _print(self) -> None:
        self.printed = time.monotonic()
        print(self.line(), flush=True)

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self.enabled and self.done > self.initial:
            self._print()


def track(
    iterable: Iterable[T], *, total: int | None = None, desc: str, unit: str = "it"
) -> Iterator[T]:
    """Yield the items of `iterable` and show how far the work is."""
    with Progress(total=total, desc=desc, unit=unit) as bar:
        for item in iterable:
            yield item
            bar.update(1)
