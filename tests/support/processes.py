"""Waiting for other processes, and finding them."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil


def wait_for(found: Callable[[], Any], *, seconds: float, what: str) -> Any:
    """Ask until the answer is true, and return it; ever less often, as to answer costs time too."""
    deadline, pause = time.monotonic() + seconds, 0.05
    while not (value := found()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(pause)
        pause = min(1.2 * pause, 1.0)
    return value


def processes_in(folder: Path) -> list[psutil.Process]:
    """Running processes that work in a folder, this one excepted."""
    return [
        process
        for process in psutil.process_iter(["cwd", "status"])
        if process.info["cwd"] == str(folder)
        and process.info["status"] != psutil.STATUS_ZOMBIE
        and process.pid != os.getpid()
    ]


def processes_with(word: str) -> list[psutil.Process]:
    """Running processes with this word in their command line."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if word in " ".join(process.info["cmdline"] or [])
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def listening(port: int) -> psutil.Process:
    """The process that listens on a port."""
    for one in psutil.net_connections("tcp"):
        if one.status == "LISTEN" and one.laddr[1] == port:
            return psutil.Process(one.pid)
    raise AssertionError(f"nobody listens on {port}")
