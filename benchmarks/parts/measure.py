"""Two ways to compute the same thing, timed in turn in one run, with the memory they take."""

import ctypes
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from diffutron.modeling.flops import matmul_peak
from diffutron.runtime.progress import Progress

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


@dataclass
class Runs:
    """Seconds, and bytes over those held before, of each run of one form."""

    seconds: list[float] = field(default_factory=list[float])
    peak_bytes: list[int] = field(default_factory=list[int])

    def add(self, run: Callable[[], object]) -> None:
        """The peak of the resident memory is the kernel's own count, so no allocation is missed."""
        before = _start_peak()
        started = clock()
        run()
        self.seconds.append(clock() - started)
        if before is not None:
            self.peak_bytes.append(_resident("VmHWM") - before)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def memory(self) -> float | None:
        return statistics.median(self.peak_bytes) if self.peak_bytes else None


@dataclass
class Comparison:
    """The runs of both forms and the matmul peaks measured between them, in FLOP/s.

    scale: how many times what was timed the plain form would have to do.
    """

    plain: Runs
    ours: Runs
    peaks: list[float]
    scale: float = 1.0

    @property
    def ratios(self) -> list[float]:
        """Of the two runs of each round."""
        pairs = zip(self.plain.seconds, self.ours.seconds, strict=True)
        return [self.scale * plain / ours for plain, ours in pairs]

    def row(self, case: str, *, flops: float, max_abs_diff: float, **more: object) -> dict:
        """What is printed of a case; flops: the least arithmetic of one run of ours."""
        memory = None
        if self.plain.memory is not None and self.ours.memory is not None:
            memory = round(self.ours.memory / max(self.plain.memory, 1), 4)
        return {
            "case": case,
            "speedup": round(self.scale * self.plain.median / self.ours.median, 3),
            "memory_ratio": memory,
            "peak_share": round(flops / self.ours.median / max(self.peaks), 4),
            "max_abs_diff": max_abs_diff,
            "speedup_range": [round(min(self.ratios), 3), round(max(self.ratios), 3)],
            "plain_seconds": round(self.scale * self.plain.median, 5),
            "ours_seconds": round(self.ours.median, 5),
            "plain_bytes": self.plain.memory,
            "ours_bytes": self.ours.memory,
            "matmul_gflops": round(max(self.peaks) / 1e9, 1),
            "repeats": len(self.ratios),
            **more,
        }


def compare(
    case: str,
    plain: Callable[[], object],
    ours: Callable[[], object],
    *,
    repeats: int,
    scale: float = 1.0,
) -> Comparison:
    """Both forms in turn, in changing order; the matmul peak in between. Both have run before."""
    found = Comparison(Runs(), Runs(), [], scale)
    with Progress(total=2 * repeats, desc=case, unit="run") as bar:
        for number in range(repeats):
            found.peaks.append(matmul_peak("cpu", repeats=10, clock=clock))
            turns = [(found.plain, plain), (found.ours, ours)]
            for runs, run in turns if number % 2 == 0 else reversed(turns):
                runs.add(run)
                bar.update()
    return found


def clock() -> float:
    """Seconds that the process has computed, with one thread: other programs share the cores.

    Seconds of the wall with more, where waiting for each other counts.
    """
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def max_abs_diff(left: torch.Tensor, right: torch.Tensor) -> float:
    return float((left.double() - right.double()).abs().max())


def _start_peak() -> int | None:
    """Bytes held now, from which the kernel counts the peak anew; None where it cannot (no
    Linux)."""
    if not sys.platform.startswith("linux"):
        return None
    ctypes.CDLL(None).malloc_trim(0)  # what earlier runs have freed is not held
    try:
        RESET.write_text("5")
        return _resident("VmRSS")
    except OSError:
        return None


def _resident(field_name: str) -> int:
    line = next(x for x in STATUS.read_text().splitlines() if x.startswith(f"{field_name}:"))
    return int(line.split()[1]) * 1024
