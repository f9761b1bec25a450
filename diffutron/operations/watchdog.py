"""End a launcher that outlives its ranks: `python -m diffutron.operations.watchdog GRACE CMD`.

When a host is cut off, its ranks end at the collective time-out; the launcher above them may wait
for its peers for ever, deaf to SIGTERM (torch's rendezvous store). A launcher whose ranks have all
been gone for GRACE seconds is ended (SIGTERM, then SIGKILL) and the exit code is 1, so that Slurm,
systemd or a loop can start it again; the training goes on from its last checkpoint.

The ranks of each start meet in a store of their own. In torch's shared store they would find the
addresses of ranks that have ended, and use up the launcher's restarts.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

from diffutron.operations.guard import Stopped, alive, stoppable

POLL = 0.5
KILL_AFTER = 10.0  # seconds between SIGTERM and SIGKILL; all ranks have ended by then
STUCK = 1
OWN_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def main() -> int:
    grace, *command = sys.argv[1:]
    try:
        with stoppable(grace=KILL_AFTER):
            return watch(command, grace=float(grace))
    except Stopped as stopped:
        return 128 + stopped.signum


def watch(command: Sequence[str], *, grace: float) -> int:
    """Run a launcher; its exit code, or 1 where it is stuck, and then still there."""
    launcher = subprocess.Popen(command, env=os.environ | OWN_STORE)
    had_ranks, alone_since = False, time.monotonic()
    while True:
        try:
            return launcher.wait(timeout=POLL)
        except subprocess.TimeoutExpired:
            pass
        ranks: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            ranks = psutil.Process(launcher.pid).children()
        if any(alive(rank) for rank in ranks):
            had_ranks, alone_since = True, time.monotonic()
        elif had_ranks and time.monotonic() - alone_since > grace:
            print(
                f"error: the launcher has had no rank for {grace:g} s and does not end: it "
                "waits for hosts that are gone; ended, start it again to go on from the last "
                "checkpoint",
                file=sys.stderr,
                flush=True,
            )
            return STUCK


if __name__ == "__main__":
    sys.exit(main())
