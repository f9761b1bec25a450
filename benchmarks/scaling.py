"""Tokens a second of one and of two ranks, one thread each: `python -m benchmarks.scaling --json`.

strong: two ranks share the batch of one. weak: each of two ranks has a batch of that size. apart:
two trainings of one rank at the same time, which is what the machine itself allows. The runs take
turns; ratios are of the runs of one round, and the median over the rounds is reported.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kill import environment
from benchmarks.parts.tiny_project import make_project, write_params
from diffutron.runtime.progress import Progress
from diffutron.runtime.yaml_files import read_yaml

ENCODER = {
    "hidden_size": 288,
    "num_layers": 4,
    "num_heads": 6,
    "intermediate_size": 640,
    "local_attention": 128,
}
TRAINING = {
    "packed_length": 256,
    "micro_batch_rows": 4,
    "checkpoint_every": 10**6,
    "evaluate_samples": 1,
}
TRAINED = (("pretrain", 2), ("instruct_phase1", 1), ("instruct_phase1", 3))  # with ZeRO stages
TURNS = ("one", "strong", "weak", "apart")


@dataclass(frozen=True)
class Case:
    """A stage of a project, trained with one ZeRO stage for some steps."""

    project: Path
    stage: str
    zero: int
    steps: int
    batch_size: int

    def rates(self, turn: str) -> list[dict]:
        """The metrics of each training of a turn."""
        batch = self.batch_size * (2 if turn == "weak" else 1)
        self.set(batch_size=batch)
        ranks = 1 if turn in ("one", "apart") else 2
        started = [self.start(number, ranks) for number in range(2 if turn == "apart" else 1)]
        return [self.end(number, process) for number, process in enumerate(started)]

    def set(self, *, batch_size: int) -> None:
        values = read_yaml(self.project / "params.yaml")
        changes = TRAINING | {"steps": self.steps, "zero_stage": self.zero}
        values[self.stage]["training"] |= changes | {"batch_size": batch_size}
        values[self.stage]["training"]["evaluate_every"] = self.steps
        write_params(self.project, values)

    def start(self, number: int, ranks: int) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "diffutron", self.stage, "--out", f"out{number}"]
        command += ["--metrics", f"out{number}.json"]
        command += ["--model", "models/backbone"] if self.stage != "pretrain" else []
        ours = {"DIFFUTRON_RANKS": str(ranks), "DIFFUTRON_CHECKPOINTS": f"checkpoints{number}"}
        return subprocess.Popen(
            command,
            cwd=self.project,
            env={**environment(), **ours},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, number: int, process: "subprocess.Popen[str]") -> dict:
        _, errors = process.communicate()
        if process.returncode:
            raise SystemExit(f"{self.stage} with ZeRO-{self.zero}: {errors.strip()[-2000:]}")
        shutil.rmtree(self.project / f"out{number}")
        return json.loads((self.project / f"out{number}.json").read_text(encoding="utf-8"))

    def row(self, rounds: list[dict[str, list[dict]]]) -> dict:
        """Medians over the rounds; `strong` and `weak` are tokens a second over those of one."""
        speed = [
            {turn: sum(one["tokens_per_s"] for one in found) for turn, found in each.items()}
            for each in rounds
        ]
        ratios = {turn: [each[turn] / each["one"] for each in speed] for turn in TURNS[1:]}
        first = rounds[0]["one"][0]
        return {
            "stage": self.stage,
            "zero_stage": self.zero,
            "parameters": first["parameters"],
            "trainable": first["trainable"],
            "batch_size": self.batch_size,
            "tokens_per_step": round(first["tokens"] / first["steps"]),
            "tokens_per_s": {
                turn: round(statistics.median(each[turn] for each in speed)) for turn in TURNS
            },
            **{turn: round(statistics.median(found), 3) for turn, found in ratios.items()},
            "range": {turn: [round(min(r), 3), round(max(r), 3)] for turn, r in ratios.items()},
            "rounds": len(rounds),
        }


def main() -> None:
    given = parse(sys.argv[1:])
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with tempfile.TemporaryDirectory(prefix="diffutron-scaling-") as folder:
        project = make_project(Path(folder), steps=given.steps, encoder=ENCODER)
        trained = [what for what in TRAINED if what[1] in given.zero]
        cases = [Case(project, *what, given.steps, given.batch_size) for what in trained]
        found: list[list[dict[str, list[dict]]]] = [[] for _ in cases]
        total = given.rounds * len(cases) * len(TURNS)
        out = contextlib.redirect_stdout(sys.stderr)
        with out, Progress(total=total, desc="scaling", unit="run") as bar:
            for number in range(given.rounds):
                for case, rounds in zip(cases, found, strict=True):
                    turns = TURNS if number % 2 == 0 else reversed(TURNS)
                    rounds.append({})
                    for turn in turns:
                        rounds[-1][turn] = case.rates(turn)
                        bar.update()
    for case, rounds in zip(cases, found, strict=True):
        row = case.row(rounds)
        shown = json.dumps(row) if given.json else "\n".join(f"{k:16} {v}" for k, v in row.items())
        print(shown, flush=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of all turns")
    parser.add_argument("--steps", type=int, default=40, help="optimizer steps of a training")
    parser.add_argument("--batch-size", type=int, default=64, help="samples of one rank alone")
    parser.add_argument("--zero", type=int, nargs="+", default=[1, 2, 3], choices=(1, 2, 3))
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    found = parser.parse_args(arguments)
    if min(found.rounds, found.steps, found.batch_size) < 1:
        parser.error("--rounds, --steps and --batch-size must be at least 1")
    return found


if __name__ == "__main__":
    main()
