"""Everything that only a GPU can tell, in one run of bounded length.

    python -m benchmarks.gpu --seconds 400 --json          # about 8 minutes with imports
    python -m benchmarks.gpu --tiny --json                 # the same code on any machine

Each part has a limit of its own and keeps its faults to itself. `gpu.json` in `--out` is written
after each part, so a run that is cut off has told what it found. Only a part that failed has the
key `error`; one for which no time was left has the key `left_out`.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.parts import gpu_head, gpu_parity, gpu_speed
from benchmarks.parts.bounded import FAULTS, fault, limit
from benchmarks.parts.gpu_run import Run
from diffutron.runtime.files import write_json

# Part: what it does, and the share of the time that it may take.
PARTS: dict[str, tuple[Callable[[Run], dict[str, Any]], float]] = {
    "environment": (gpu_speed.environment, 0.05),
    "parity": (gpu_parity.parity, 0.1),
    "attention": (gpu_parity.attention, 0.1),
    "gradients": (gpu_parity.gradients, 0.15),
    "step": (gpu_speed.step, 0.35),
    "head": (gpu_head.head, 0.15),
    "host_waits": (gpu_speed.host_waits, 0.05),
    "stages": (gpu_speed.stages, 0.3),
    "engine": (gpu_parity.engine, 0.3),
    "sampling": (gpu_speed.sampling, 0.15),
    "scoring": (gpu_speed.scoring, 0.1),
    "training": (gpu_speed.training, 0.75),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--seconds", type=float, default=400.0, help="for all parts together")
    parser.add_argument("--tiny", action="store_true", help="small shapes, on a CPU as well")
    parser.add_argument(
        "--only", default="", help="parts, separated by commas; each may take all the time"
    )
    parser.add_argument("--out", type=Path, default=Path(), help="folder of gpu.json and profile")
    parser.add_argument("--corpus", type=Path, help="a corpus folder to train on; else random ids")
    parser.add_argument("--json", action="store_true", help="print one object at the end")
    given = parser.parse_args(arguments)
    names = [name for name in given.only.split(",") if name] or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"--only {unknown[0]}: choose from {', '.join(PARTS)}")
    given.out.mkdir(parents=True, exist_ok=True)
    run = Run(
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        tiny=given.tiny,
        deadline=time.monotonic() + given.seconds,
        out=given.out,
        corpus=given.corpus,
    )
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        run.scratch = Path(folder)
        for name in names:
            make, share = PARTS[name]
            share = 1.0 if given.only else share
            run.found[name] = found = measured(make, run, seconds=share * given.seconds)
            write_json(given.out / "gpu.json", run.found)
            print(f"{name}: {json.dumps(found)}", flush=True)
    if given.json:
        print(json.dumps(run.found))
    if any("error" in found for found in run.found.values()):
        raise SystemExit(1)


def measured(make: Callable[[Run], dict[str, Any]], run: Run, *, seconds: float) -> dict[str, Any]:
    """What a part found, or its fault; `part_seconds` in either case."""
    started = time.monotonic()
    if run.deadline - started < (0 if run.tiny else 5):
        return {"left_out": "no time was left"}
    run.partial = {}
    try:
        with limit(min(seconds, run.deadline - started)):
            found = make(run)
    except FAULTS as error:
        where = traceback.format_exc().splitlines()[-12:]
        found = run.partial | {"error": fault(error), "where": where}
    if run.on_gpu:
        torch.cuda.empty_cache()
    return found | {"part_seconds": round(time.monotonic() - started, 1)}


if __name__ == "__main__":
    main()
