"""A training step on an idle machine and beside a busy process, for waits of different length.

    python -m benchmarks.busy --json

`default`: the threads of OpenMP spin while they wait for each other. `ours`: as the command line
sets it, they soon leave the core to others. Runs are interleaved; each figure is the median of the
steps per second. `idle_ratio`: ours over default. `busy_share`: ours beside a process over idle.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack

OURS = {"GOMP_SPINCOUNT": "300"}
SECONDS = 6.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.busy", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each case")
    parser.add_argument("--json", action="store_true", help="plain JSON")
    parser.add_argument("--measure", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(steps_per_second(given.measure))
        return
    found = compare(given.repeats)
    print(json.dumps(found, indent=2 if given.json else None))


def compare(repeats: int, *, seconds: float = SECONDS) -> dict[str, float]:
    speeds: dict[str, list[float]] = {}
    for _ in range(repeats):
        for load in ("idle", "busy"):
            with ExitStack() as stack:
                if load == "busy":
                    spin = subprocess.Popen([sys.executable, "-c", "while True: pass"])
                    stack.callback(spin.wait)
                    stack.callback(spin.kill)
                for name, variables in (("default", {}), ("ours", OURS)):
                    speeds.setdefault(f"{load}_{name}", []).append(measured(variables, seconds))
    found = {name: round(statistics.median(values), 2) for name, values in speeds.items()}
    found["idle_ratio"] = round(found["idle_ours"] / found["idle_default"], 3)
    found["busy_share"] = round(found["busy_ours"] / found["idle_ours"], 3)
    found["busy_share_by_default"] = round(found["busy_default"] / found["idle_default"], 3)
    return found


def measured(variables: dict[str, str], seconds: float) -> float:
    ours = {*OURS, "OMP_WAIT_POLICY", "OMP_NUM_THREADS"}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    command = [sys.executable, "-m", "benchmarks.busy", "--measure", str(seconds)]
    done = subprocess.run(
        command, env=environment | variables, stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def steps_per_second(seconds: float) -> float:
    """Of forward and backward at about the shape of the demo, after a warm-up."""
    from benchmarks.parts.gpu_run import whole_batch
    from benchmarks.parts.shapes import MASK, Shape, new_model
    from diffutron.training.trainer import MaskedLoss

    shape = Shape(4096, 128, 4, 4, 256, 16)
    loss = MaskedLoss(new_model(shape).train(), mask_token_id=MASK)
    micro, _ = whole_batch(shape, 1024)
    loss(micro).backward()
    started, steps = time.perf_counter(), 0
    while (taken := time.perf_counter() - started) < seconds:
        loss(micro).backward()
        steps += 1
    return steps / taken


if __name__ == "__main__":
    main()
