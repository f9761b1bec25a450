"""A command, with the memory of all its processes looked at while it runs."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

EVERY = 1.0  # seconds between two looks, each of which costs tens of milliseconds
RESERVE = 2**30  # bytes that stay free; a command that takes them is ended


@dataclass(frozen=True)
class Usage:
    """Of a command: seconds on the clock and of the processors, and bytes of memory.

    peak_bytes: largest sum over all processes at one look, where what they share counts once; no
    less than `largest_bytes`, the most that one process has had by the kernel's own count.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    largest_bytes: int
    processes: int


def run_measured(command: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path) -> Usage:
    """Run a command to its end.

    Raises:
        AssertionError: it failed, or the memory of the machine did not suffice.
    """
    started, before = time.monotonic(), os.times()
    peak = largest = processes = 0
    with log.open("wb") as told:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=told, stderr=told)
        while process.poll() is None:
            found = [_memory(one) for one in _family(process.pid)]
            peak = max(peak, sum(now for now, _ in found))
            largest = max([largest, *(most for _, most in found)])
            processes = max(processes, len(found))
            if psutil.virtual_memory().available < RESERVE:
                _kill(process)
                raise AssertionError(
                    f"{' '.join(command)}: ended, as its {peak / 2**30:.1f} GiB left less than "
                    f"{RESERVE / 2**30:.0f} GiB of this machine's memory"
                )
            time.sleep(EVERY)
    said = log.read_text(encoding="utf-8", errors="replace")[-4000:]
    assert process.returncode == 0, f"{' '.join(command)}: exit {process.returncode}\n{said}"
    after = os.times()
    cpu = sum(after[2:4]) - sum(before[2:4])  # of children that were waited for, and of theirs
    seconds = time.monotonic() - started
    return Usage(seconds, cpu, max(peak, largest), largest, processes)


def _family(pid: int) -> list[psutil.Process]:
    """A process and all that descend from it."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def _memory(process: psutil.Process) -> tuple[int, int]:
    """Bytes now, shared pages in proportion, and the highest count of resident bytes; (0, 0) of a
    process that is gone."""
    with suppress(psutil.Error, OSError, StopIteration):
        now = process.memory_full_info().pss
        status = Path(f"/proc/{process.pid}/status").read_text()
        most = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return now, int(most.split()[1]) * 1024
    return 0, 0


def _kill(process: subprocess.Popen[bytes]) -> None:
    for one in reversed(_family(process.pid)):
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()
