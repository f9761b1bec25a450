"""A data stage as a user runs it, in a process of its own: its time and memory."""

import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ALONE = 2  # processes of a stage without helpers: itself and what multiprocessing leaves behind
ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Cost:
    """What a process and its helpers took: seconds, processor time of all, and the largest sum of
    their resident bytes, of all and when the helpers have ended."""

    seconds: float
    cpu_seconds: float
    peak: int
    peak_alone: int

    @property
    def shown(self) -> dict[str, float]:
        return {
            "seconds": round(self.seconds, 1),
            "cpu_seconds": round(self.cpu_seconds, 1),
            "peak_rss_gb": round(self.peak / 1e9, 3),
        }


def command(*arguments: str, data: Path) -> subprocess.Popen[bytes]:
    """`diffutron` with that data folder, its progress on standard error."""
    environment = os.environ | {"DIFFUTRON_DATA": str(data)}
    line = [sys.executable, "-m", "diffutron", *arguments]
    return subprocess.Popen(line, env=environment, cwd=ROOT, stdout=sys.stderr)


def finish(process: subprocess.Popen[bytes]) -> None:
    if process.wait():
        raise SystemExit(f"{' '.join(map(str, process.args))} ended with {process.returncode}")


def measured(process: subprocess.Popen[bytes]) -> Cost:
    """Wait for the end of a process.

    Raises:
        SystemExit: it failed.
    """
    started, before = time.perf_counter(), cpu_seconds()
    peak = alone = 0
    while process.poll() is None:
        memory, processes = tree_memory(process.pid)
        peak = max(peak, memory)
        alone = max(alone, memory) if processes <= ALONE else alone
        time.sleep(0.1)
    finish(process)
    return Cost(time.perf_counter() - started, cpu_seconds() - before, peak, alone)


def cpu_seconds() -> float:
    """Of all ended child processes and theirs: what the run cost, whoever else used the cores."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def tree_memory(pid: int) -> tuple[int, int]:
    """Resident bytes of a process and all its descendants, and how many they are."""
    total = processes = 0
    try:
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            try:
                total += process.memory_info().rss
                processes += 1
            except psutil.Error:
                continue
    except psutil.Error:
        return total, processes
    return total, processes


def write_params(path: Path, data: Path, changes: dict[str, Any]) -> None:
    """The parameters of profile `small` with changes."""
    said = [word for key, value in changes.items() for word in ("-S", f"{key}={value}")]
    finish(command("params", "--profile", "small", "--out", str(path), *said, data=data))


def make_tokenizer(work: Path, data: Path) -> Path:
    """A scratch vocabulary of the size of profile `small`, on the real text."""
    write_params(work / "tokenizer.yaml", data, {"tokenizer.max_documents": 40_000})
    out = work / "tokenizer"
    paths = ["--params", work / "tokenizer.yaml", "--out", out, "--metrics", work / "t.json"]
    finish(command("tokenizer", *map(str, paths), data=data))
    return out
