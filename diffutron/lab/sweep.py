"""`diffutron sweep`: arms of a recipe at equal compute, over seeds, with a test that says so where
nothing can be told."""

import copy
import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from diffutron.evaluation.statistics.arms import against_base, pooled
from diffutron.lab.measuring import RESULT, lower_is_better, measuring_step
from diffutron.lab.page import write_page
from diffutron.lab.sweep_file import BASE, SweepFile, read_sweep
from diffutron.lab.workshop import Step, Workshop, step_of
from diffutron.operations.metrics import metrics
from diffutron.operations.profiles import compose
from diffutron.registry.sweep_runs import log_sweep
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import read_json, write_json
from diffutron.runtime.progress import Progress
from diffutron.runtime.tables import flatten

TIMING_STEPS = 30  # of each training, by which a budget is turned into steps
COST = ("cpu_seconds", "tokens", "flops")
RESULTS, WORK = "results", "work"


@dataclass(frozen=True)
class Arm:
    """One arm with one seed: its parameters, and where its result is kept."""

    name: str
    seed: int
    values: dict[str, Any]

    @property
    def label(self) -> str:
        return f"{self.name}, seed {self.seed}"


@dataclass
class Sweep:
    """A sweep at work: arms run one after another on each worker."""

    file: SweepFile
    origin: str
    folder: Path
    workers: int
    told: Callable[[str], None]
    steps: list[Step] = field(init=False)
    shop: Workshop = field(init=False)

    def __post_init__(self) -> None:
        measuring = measuring_step(self.file.stages, self.file.measure, origin=self.origin)
        self.steps = [step_of(stage) for stage in self.file.stages]
        self.steps += [measuring] if measuring else []
        cores = sorted(os.sched_getaffinity(0))
        if self.workers > len(cores):
            raise UserError(f"--workers {self.workers}: this machine has {len(cores)} processors")
        shares = [cores[number :: self.workers] for number in range(self.workers)]
        self.shop = Workshop(self.folder / WORK, self.told, shares)

    def run(self) -> dict[str, Any]:
        """All arms with all seeds; the results as `--json` prints them."""
        arms = list(self._arms())
        free: SimpleQueue[int] = SimpleQueue()
        for number in range(self.workers):
            free.put(number)
        with (
            Progress(total=len(arms), desc="sweep", unit="run") as bar,
            ThreadPoolExecutor(self.workers) as pool,
        ):

            def one(arm: Arm) -> dict[str, Any]:
                worker = free.get()
                try:
                    return self._run_arm(arm, worker)
                finally:
                    free.put(worker)
                    bar.update(1)

            found = list(pool.map(one, arms))
        return self._results(arms, found)

    def _arms(self) -> Iterator[Arm]:
        """Seed after seed, so that an interrupted sweep has compared all arms on its first ones."""
        for seed in self.file.seeds:
            for name, own in self.file.overrides.items():
                overrides = [f"{key}={json.dumps(value)}" for key, value in own.items()]
                try:
                    values = compose(self.file.profile, [*overrides, f"seed={seed}"], pinned=False)
                except UserError as error:
                    raise UserError(f"{self.origin}: arm {name}: {error}") from None
                yield Arm(name, seed, values)

    def _run_arm(self, arm: Arm, worker: int) -> dict[str, Any]:
        """The measures and the cost of one arm with one seed; kept, so that it runs once."""
        asked = json.dumps([arm.values, self.file.stages, self.file.measure, self._budget()])
        kept = self.folder / RESULTS / f"{sha256(asked.encode()).hexdigest()[:16]}.json"
        if not kept.is_file():
            values = self._budgeted(arm, worker) if self.file.budget else arm.values
            folders = self._chain(values, worker, label=arm.label)
            write_json(kept, self._measured(folders))
        return {**read_json(kept), "arm": arm.name, "seed": arm.seed}

    def _budget(self) -> Any:
        return self.file.budget.model_dump() if self.file.budget else None

    def _chain(self, values: dict[str, Any], worker: int, *, label: str) -> dict[str, Path]:
        folders: dict[str, Path] = {}
        for step in self.steps:
            folders[step.name] = self.shop.run(step, values, folders, worker=worker, label=label)
        return folders

    def _budgeted(self, arm: Arm, worker: int) -> dict[str, Any]:
        """The parameters with the steps that the budget allows.

        A short training of each stage tells what a step costs. All stages get the same share of
        the steps that the arm's own parameters ask for, and their schedules follow.
        """
        assert self.file.budget is not None
        timing = _with_steps(arm.values, dict.fromkeys(self.file.trainings, TIMING_STEPS))
        folders: dict[str, Path] = {}
        last = self.file.trainings[-1]
        until = next(place for place, step in enumerate(self.steps) if step.name == last)
        for step in self.steps[: until + 1]:
            folders[step.name] = self.shop.run(
                step, timing, folders, worker=worker, label=f"{arm.label}, timing"
            )
        each, asked = {}, {}
        for stage in self.file.trainings:
            record = read_json(folders[stage] / f"metrics/{stage}.json")
            each[stage] = record[self.file.budget.unit] / record["steps"]
            training = arm.values[stage]["training"]
            asked[stage] = training["steps"] or (
                training["epochs"] * record["steps"] / record["epochs"]
            )
        share = self.file.budget.amount / sum(each[s] * asked[s] for s in asked)
        steps = {stage: max(1, round(share * number)) for stage, number in asked.items()}
        told = ", ".join(f"{stage} {number} steps" for stage, number in steps.items())
        self.told(f"{arm.label}: {told}")
        return _with_steps(arm.values, steps)

    def _measured(self, folders: dict[str, Path]) -> dict[str, Any]:
        values: dict[str, float] = {}
        for stage in self.file.stages:
            values |= metrics(folders[stage] / "metrics")
        if "measure" in folders:
            values |= flatten(read_json(folders["measure"] / RESULT))
        if missing := [name for name in self.file.measure if name not in values]:
            raise UserError(
                f"{self.origin}: measure: {missing[0]} was not measured; there are "
                f"{', '.join(sorted(values)[:20])} and more (`diffutron metrics` prints them)"
            )
        records = {
            stage: read_json(folders[stage] / f"metrics/{stage}.json")
            for stage in self.file.trainings
        }
        records = {stage: one for stage, one in records.items() if "steps" in one}
        return {
            "measures": {name: values[name] for name in self.file.measure},
            **{key: sum(one[key] for one in records.values()) for key in COST},
            "peak_bytes": max((one["peak_bytes"] for one in records.values()), default=0),
            "steps": {stage: one["steps"] for stage, one in records.items()},
            "curves": {
                stage: curve_points(folders[stage] / f"metrics/{stage}.csv", one)
                for stage, one in records.items()
            },
            "folders": [folder.name for folder in folders.values()],
        }

    def _results(self, arms: Sequence[Arm], found: Sequence[dict[str, Any]]) -> dict[str, Any]:
        names = list(dict.fromkeys(arm.name for arm in arms))
        measures = {
            name: {
                arm: {one["seed"]: one["measures"][name] for one in found if one["arm"] == arm}
                for arm in names
            }
            for name in self.file.measure
        }
        lower = {name: lower_is_better(name) for name in measures}
        judged = against_base(measures, base=BASE, lower_is_better=lower)
        noise = {name: pooled(values) for name, values in measures.items()}
        first = self.file.measure[0]
        rows = {}
        for arm in names:
            mine = [one for one in found if one["arm"] == arm]
            costs = {key: sum(one[key] for one in mine) / len(mine) for key in COST}
            rows[arm] = {
                **judged[first][arm],
                **costs,
                "peak_bytes": max(one["peak_bytes"] for one in mine),
                "overrides": self.file.overrides[arm],
                "measures": {name: judged[name][arm] for name in self.file.measure},
            }
        pick = min if lower[first] else max
        best = pick(names, key=lambda arm: rows[arm]["mean"])
        return {
            "sweep": self.file.model_dump(mode="json"),
            "measure": first,
            "lower_is_better": lower,
            "pooled_sd": {name: one.sd for name, one in noise.items()},
            "degrees_of_freedom": {name: one.df for name, one in noise.items()},
            "best": best,
            "kept": sorted({f for one in found if one["arm"] == best for f in one["folders"]}),
            "arms": rows,
            "runs": list(found),
            "ran": self.shop.ran,
        }


def sweep(path: Path, *, out: Path, workers: int, told: Callable[[str], None]) -> dict[str, Any]:
    """Run the sweep of a file; results, a page and the best arm's models are in `out`.

    Raises:
        UserError: a mistake in the file.
        StageFailure: a stage of an arm failed; what ran before it is kept.
    """
    work = Sweep(read_sweep(path), str(path), out, workers, told)
    results = work.run()
    for folder in (out / WORK).iterdir() if (out / WORK).is_dir() else ():
        if folder.name not in results["kept"]:  # a second call needs the results alone
            shutil.rmtree(folder)
    log_sweep(path.stem, results, before=_earlier(out), told=told)
    write_json(out / "sweep.json", results)
    write_page(path.stem, results, out / "sweep.html")
    return results


def _earlier(out: Path) -> dict[str, Any]:
    return read_json(out / "sweep.json") if (out / "sweep.json").is_file() else {}


def curve_points(path: Path, record: dict[str, Any]) -> list[dict[str, float]]:
    """The held-out losses of a training over its tokens and its CPU-seconds.

    Seconds are counted at the mean speed of the whole training.
    """
    found = []
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["eval_loss"]:
                tokens = float(row["tokens"])
                seconds = record["cpu_seconds"] * tokens / record["tokens"]
                loss = float(row["eval_loss"])
                found.append({"tokens": tokens, "cpu_seconds": seconds, "eval_loss": loss})
    return found


def _with_steps(values: dict[str, Any], steps: dict[str, int]) -> dict[str, Any]:
    """The parameters with so many steps of each training; evaluated ten times, saved as asked."""
    found = copy.deepcopy(values)
    for stage, number in steps.items():
        training = found[stage]["training"]
        training |= {"steps": number, "epochs": None}
        training["evaluate_every"] = max(1, number // 10)
    return found
