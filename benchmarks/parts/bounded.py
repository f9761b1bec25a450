"""A part of a benchmark that may take so long and no longer, and whose faults are its own."""

import contextlib
import signal
from collections.abc import Iterator

from diffutron.runtime.errors import StageFailure, UserError

# Whatever a part may raise, its time limit among them; Ctrl-C ends the run.
FAULTS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError,
    OSError, RuntimeError, StageFailure, TypeError, UserError, ValueError,
)  # fmt: skip


@contextlib.contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block when its time is over."""

    def stop(_signal: int, _frame: object) -> None:
        raise TimeoutError(f"stopped after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    timer = signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def fault(error: BaseException) -> str:
    """Its kind and what it says, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"
