"""Run a command and leave nothing behind: `python -m diffutron.operations.guard PARENT GRACE CMD`.

A stage is a tree of processes (dvc, a shell, the launcher, ranks that are sessions of their own),
so ending the child or its process group does not end it. The guard adopts what its descendants
leave behind and gets SIGTERM when the process that started it dies, even by SIGKILL (prctl(2):
PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG; Linux). Before it ends, all below it has ended.

There are two of them, one below the other, so that the guard may be killed too: the lower one is
told like by any parent, and what the lower one leaves behind the upper one adopts.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psutil

GRACE = 10.0  # seconds between SIGTERM and SIGKILL
SHELLS = ("sh", "dash", "bash", "zsh", "fish")
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LOWER = "--lower"  # before the command of the second guard
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class Stopped(Exception):
    """A signal that ends this process was received."""

    def __init__(self, signum: int):
        self.signum = signum


def guarded(command: Sequence[str], *, grace: float = GRACE) -> list[str]:
    """The command that runs `command` under a guard which ends with this process."""
    return [
        sys.executable,
        "-m",
        "diffutron.operations.guard",
        str(os.getpid()),
        str(grace),
        *command,
    ]


def main() -> int:
    parent, grace, *command = sys.argv[1:]
    lower = command[0] == LOWER
    command = command[1:] if lower else guarded([LOWER, *command], grace=float(grace))
    try:
        with stoppable(grace=float(grace)):
            _follow(int(parent))
            return _run(command)
    except Stopped as stopped:
        return 128 + stopped.signum


@contextmanager
def stoppable(*, grace: float) -> Iterator[None]:
    """SIGTERM, SIGINT and SIGHUP raise `Stopped` in the block; at its end all below has ended."""

    def stop(signum: int, _frame: object) -> None:
        raise Stopped(signum)

    for signum in STOPS:
        signal.signal(signum, stop)
    try:
        yield
    finally:
        for signum in STOPS:
            signal.signal(signum, signal.SIG_IGN)
        end_descendants(grace=grace)


def _follow(parent: int) -> None:
    """Adopt orphans from below; be told when `parent` dies, or stop at once if it has died."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        raise Stopped(signal.SIGTERM)


def end_with_dvc() -> None:
    """SIGTERM for this process once the dvc above it has died; there may be shells between."""
    above = (one for one in psutil.Process().parents() if one.name() not in SHELLS)
    dvc = next(above, None)
    if dvc is None:
        return

    def end_after(process: psutil.Process) -> None:
        while alive(process):
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_after, args=(dvc,), daemon=True).start()


def _run(command: Sequence[str]) -> int:
    """Run to the end; the exit code as a shell gives it (128 + signal). Reaps adopted orphans."""
    try:
        child = subprocess.Popen(command)
    except OSError as error:
        print(f"error: cannot start {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode if child.returncode >= 0 else 128 - child.returncode


def end_descendants(*, grace: float) -> None:
    """SIGTERM every descendant of this process, SIGKILL what is left after `grace` seconds.

    Parents are told before their children: DVC shall not take the end of its command for a
    failure and be killed while it writes that down.
    """
    for signum, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        told: set[psutil.Process] = set()
        deadline = time.monotonic() + seconds
        while left := _descendants():
            for process in left:
                if process not in told:
                    with suppress(psutil.NoSuchProcess):
                        process.send_signal(signum)
            told.update(left)
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)


def _descendants() -> list[psutil.Process]:
    """Those that are alive; parents come before their children."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return []
    return [process for process in psutil.Process().children(recursive=True) if alive(process)]


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    sys.exit(main())
