"""Kill trainings at random moments and compare what they end with: `python -m benchmarks.kill`.

Each run trains one stage (pre-training, or either instruction phase) with ZeRO 1, 2 or 3 on two
ranks, as a flow does: engine -> two guards -> dvc -> launcher -> ranks. A random one of them is
killed with SIGKILL at a random moment, several times, and the same command is given again each
time.

    python -m benchmarks.kill --runs 25 --json

`kills`: processes killed. `lost`: kills after which the next command did not go on from the newest
complete checkpoint, left a process behind, or took a half-written output for a whole one.
`bit_equal`: whether every run ended with the weights of an uninterrupted one, to the bit.
"""

import argparse
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.parts.tiny_project import OUTPUTS, STAGES, make_project, select
from diffutron.operations.guard import LOWER

ZERO_STAGES = (1, 2, 3)
KILLS = (2, 3, 4)
PATIENCE = 300.0  # seconds for a run to reach the next checkpoint
GONE = 20.0  # seconds after which no process may be left
ENGINE = """
import subprocess, sys
from diffutron.operations.guard import guarded
sys.exit(subprocess.run(guarded(sys.argv[1:])).returncode)
"""
_RESUMED = re.compile(r"resumed at step (\d+)")


@dataclass
class Outcome:
    """One run: how often it was killed, what went wrong, and what it ended with."""

    stage: str
    zero: int
    kills: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    weights: str = ""


def main() -> int:
    arguments = parse(sys.argv[1:])
    chance = random.Random(arguments.seed)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="diffutron-kill-") as folder:
        project = make_project(Path(folder), steps=arguments.steps)
        references: dict[tuple[str, int], str] = {}
        runs: list[tuple[Outcome, bool]] = []
        for number in range(arguments.runs):
            stage, zero = case(number)
            if (stage, zero) not in references:
                references[stage, zero] = uninterrupted(project, stage, zero)
            outcome = killed(project, stage, zero, chance)
            equal = outcome.weights == references[stage, zero]
            runs.append((outcome, equal))
            say(number + 1, arguments.runs, outcome, equal, time.monotonic() - started)
    report(runs, seconds=time.monotonic() - started, as_json=arguments.json)
    return 0 if all(equal and not one.lost for one, equal in runs) else 1


def case(number: int) -> tuple[str, int]:
    """Every three runs hit all stages and all ZeRO stages; every nine hit all pairs."""
    return STAGES[number % 3], ZERO_STAGES[(number + number // 3) % 3]


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill", description=__doc__)
    parser.add_argument("--runs", type=int, default=25, help="trainings that are killed")
    parser.add_argument("--steps", type=int, default=240, help="optimizer steps of each")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the victims")
    parser.add_argument("--json", action="store_true", help="plain JSON on standard output")
    found = parser.parse_args(arguments)
    if found.runs < 1:
        parser.error("--runs must be at least 1")
    return found


def say(number: int, total: int, outcome: Outcome, equal: bool, seconds: float) -> None:
    left = seconds / number * (total - number)
    what = f"{outcome.stage}, ZeRO-{outcome.zero}: killed {', '.join(outcome.kills)}"
    verdict = "equal" if equal else "NOT EQUAL"
    lost = f"; lost: {'; '.join(outcome.lost)}" if outcome.lost else ""
    print(
        f"{number}/{total} {what}; weights {verdict}{lost} ({left:.0f} s left)",
        file=sys.stderr,
        flush=True,
    )


def report(runs: list[tuple[Outcome, bool]], *, seconds: float, as_json: bool) -> None:
    values = {
        "runs": len(runs),
        "kills": sum(len(one.kills) for one, _ in runs),
        "lost": sum(len(one.lost) for one, _ in runs),
        "bit_equal": all(equal for _, equal in runs),
        "bit_equal_runs": sum(equal for _, equal in runs),
        "by_case": {
            f"{stage}, ZeRO-{zero}": sum(
                len(one.kills) for one, _ in runs if (one.stage, one.zero) == (stage, zero)
            )
            for stage in STAGES
            for zero in ZERO_STAGES
        },
        "seconds": round(seconds, 1),
    }
    if as_json:
        print(json.dumps(values, indent=2))
    else:
        print("\n".join(f"{name}: {value}" for name, value in values.items()))


def uninterrupted(project: Path, stage: str, zero: int) -> str:
    """The weights of a run that nothing disturbs."""
    select(project, stage, zero)
    process = start(project, stage)
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{stage} with ZeRO-{zero} fails by itself:\n{output[-2000:]}")
    return weights(project, stage)


def killed(project: Path, stage: str, zero: int, chance: random.Random) -> Outcome:
    """Kill a run some times, then let it end; the command is the same each time."""
    select(project, stage, zero)
    outcome = Outcome(stage, zero)
    for _ in range(chance.choice(KILLS)):
        saved = newest(project)
        process = start(project, stage)
        wait_for_moment(project, process, chance)
        if process.poll() is not None:
            break  # it was done before the moment came
        outcome.kills.append(kill_one(process, chance))
        check_after_kill(project, stage, process, outcome, saved=saved)
    end(project, stage, outcome)
    return outcome


def end(project: Path, stage: str, outcome: Outcome) -> None:
    """The last command: it has to go on from the newest checkpoint and to finish."""
    saved, there = newest(project), (project / OUTPUTS[stage]).exists()
    process = start(project, stage)
    output, _ = process.communicate()
    if process.returncode:
        outcome.lost.append(f"the last command failed: {output.strip().splitlines()[-1]}")
        return
    resumed = _RESUMED.search(output)
    if saved and not there and (not resumed or int(resumed.group(1)) < saved):
        outcome.lost.append(f"step {saved} was saved, the next run began at {resumed}")
    outcome.weights = weights(project, stage)


def start(project: Path, stage: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", stage]
    return subprocess.Popen(
        [sys.executable, "-c", ENGINE, *command],
        cwd=project,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def environment() -> dict[str, str]:
    """This checkout's code in another folder, two ranks of one thread each."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    here = str(Path(__file__).resolve().parent.parent)
    ours = {"PYTHONPATH": here, "DIFFUTRON_RANKS": "2", "OMP_NUM_THREADS": "1", "PATH": path}
    return {**os.environ, **ours, "PYTHONUNBUFFERED": "1"}


def newest(project: Path) -> int:
    """The step of the newest complete checkpoint; 0 without one."""
    found = [int(p.name[5:]) for p in project.glob("checkpoints/*/step-*") if not p.suffix]
    return max(found, default=0)


def wait_for_moment(project: Path, process: "subprocess.Popen[str]", chance: random.Random) -> None:
    """A moment in the start, between two checkpoints, or while one is being written."""
    kind = chance.random()
    if kind < 0.15:
        time.sleep(chance.uniform(0.2, 8.0))
        return
    goal = newest(project) + chance.choice((10, 20, 40, 60))
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and newest(project) < goal and time.monotonic() < deadline:
        time.sleep(0.01)
    if kind < 0.5:
        while process.poll() is None and not list(project.glob("checkpoints/*/*.partial")):
            time.sleep(0.0005)
        time.sleep(chance.uniform(0.0, 0.03))
    else:
        time.sleep(chance.uniform(0.0, 0.5))


def kill_one(process: "subprocess.Popen[str]", chance: random.Random) -> str:
    """SIGKILL to one process of the tree; its part in it."""
    tree = [psutil.Process(process.pid)]
    tree += tree[0].children(recursive=True)
    parts = [("engine", tree[0]), *((part_of(one), one) for one in tree[1:])]
    named = [(name, one) for name, one in parts if name]
    name, victim = chance.choice(named)
    try:
        victim.kill()
    except psutil.NoSuchProcess:
        return f"{name} (just ended)"
    return name


def part_of(process: psutil.Process) -> str:
    try:
        line = " ".join(process.cmdline())
        if "diffutron.operations.guard" in line:
            return "lower guard" if LOWER in line else "guard"
        if "-m dvc" in line:
            return "dvc"
        if "-m diffutron" in line:
            return f"rank {process.environ()['RANK']}" if "-u -m" in line else "launcher"
    except (psutil.Error, KeyError):
        return ""
    return ""


def check_after_kill(
    project: Path, stage: str, process: "subprocess.Popen[str]", outcome: Outcome, *, saved: int
) -> None:
    """It had gone on from step `saved`; everything has ended; the output is whole or not there."""
    last, output = outcome.kills[-1], ""
    try:
        output, _ = process.communicate(timeout=GONE)
    except subprocess.TimeoutExpired:
        outcome.lost.append(f"after {last} the command went on")
        process.kill()
    if (resumed := _RESUMED.search(output)) and int(resumed.group(1)) < saved:
        outcome.lost.append(f"step {saved} was saved, the next run went on at {resumed.group(1)}")
    deadline = time.monotonic() + GONE
    while left := processes_in(project):
        if time.monotonic() > deadline:
            outcome.lost.append(f"after {last} {len(left)} processes stayed")
            for one in left:
                one.kill()
            break
        time.sleep(0.1)
    out = project / OUTPUTS[stage]
    if out.exists() and not list(out.glob("*.safetensors")):
        outcome.lost.append(f"after {last} the output is half-written")


def processes_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cwd", "status"]):
        if process.info["cwd"] == str(folder) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def weights(project: Path, stage: str) -> str:
    """A digest of the trained weights."""
    digest = hashlib.sha256()
    for file in sorted((project / OUTPUTS[stage]).glob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
