"""A stage that DVC runs shows itself in MLflow while it works (`DIFFUTRON_TRACKING=off`: it does
not).

A process of its own sends what the stage tells in files, so that a training imports no MLflow and
waits for no server. It learns of the end through its standard input: a line, or the end of the
file where the stage was killed.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from signal import SIGHUP, SIGINT, SIGTERM

from diffutron.runtime.live import CURVE, LIVE, new_curve

TRACKING = "DIFFUTRON_TRACKING"
SHOWN = (
    *("corpus", "backbone", "pretrain", "instructions"),
    *("instruct_phase1", "instruct_phase2", "evaluate"),
)  # the others take seconds, and `register` logs them
BY_SIGNAL = {128 + number: number.name for number in (SIGHUP, SIGINT, SIGTERM)}
LAST_WORDS = 15.0  # seconds that a stage waits for the process at its end


def tracked() -> bool:
    """Whether builds show themselves while they run."""
    return os.environ.get(TRACKING, "").lower() not in ("off", "0", "false")


@contextmanager
def shown_live(stage: str) -> Iterator[None]:
    """The block is a stage at work: a run of MLflow, as far as there is a store.

    Only the process that DVC started does so, not the ranks below it. A training on several hosts
    becomes another program, so `register` logs it.
    """
    of_dvc = "DVC_STAGE" in os.environ and "LOCAL_RANK" not in os.environ
    alone = os.environ.get("DIFFUTRON_HOSTS", "1") == "1"
    if stage not in SHOWN or not (of_dvc and alone and tracked()):
        yield
        return
    table = (LIVE / f"{stage}.csv").resolve()
    new_curve(table)
    os.environ[CURVE] = str(table)
    with table.with_suffix(".log").open("w", encoding="utf-8") as log:
        sender = subprocess.Popen(
            [sys.executable, "-m", "diffutron.registry.stage_runs", stage],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,  # it outlives Ctrl-C, to say so
        )
    fault: BaseException | None = None
    try:
        yield
    except BaseException as error:
        fault = error
        raise
    finally:
        with suppress(OSError, subprocess.TimeoutExpired):  # it has ended, or it ends later
            sender.communicate(json.dumps(_end(fault)), timeout=LAST_WORDS)


def _end(fault: BaseException | None) -> dict[str, str]:
    """How a stage ended, in MLflow's words."""
    if fault is None or (isinstance(fault, SystemExit) and not fault.code):
        return {"status": "FINISHED"}
    if isinstance(fault, SystemExit) and fault.code in BY_SIGNAL:
        return {"status": "KILLED", "cause": f"ended by {BY_SIGNAL[fault.code]}"}
    failed = isinstance(fault, (Exception, SystemExit))
    cause = " ".join(str(fault).split()) or type(fault).__name__
    return {"status": "FAILED" if failed else "KILLED", "cause": cause}
