"""A stage at work as a run of MLflow: `python -m diffutron.registry.stage_runs STAGE`.

The stage's command starts this process (`operations/live.py`). It sends each new point of the
curve within seconds, and the processor, memory and GPUs of the machine. A store that is away is
asked again later; what could not be sent `register` logs from the files.
"""

import csv
import json
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffutron.config.params import load_params
from diffutron.registry.mlflow_client import experiment_id, tracking
from diffutron.registry.mlflow_runs import (
    NOTE,
    PARENT,
    build_run_id,
    fingerprints,
    log_metrics,
    log_params,
    numbers,
)
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import file_digest, read_json, write_json
from diffutron.runtime.live import COLUMNS, LIVE

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

BRIEF = 5.0  # seconds: a training that is done in less is left to `register`
PATIENT = 30.0  # the same of a stage that has no curve to show
CURVELESS = ("corpus", "instructions", "evaluate")
POLL = 2.0  # seconds between two looks at the table
EVERY = 5  # seconds between two looks at the machine
PATIENCE = 300.0  # seconds for which a store that is away is asked again after the end


@dataclass
class StageRun:
    """What of a stage has been sent."""

    stage: str
    started: float
    run_id: str | None = None
    place: int = 0  # in the table, in bytes
    monitor: Any = None
    told: str = ""  # the last fault

    @property
    def table(self) -> Path:
        return LIVE / f"{self.stage}.csv"

    def send(self) -> bool:
        """Send what is new; whether the store took it."""
        lines = self.new_lines()
        if self.run_id and not lines:
            return True
        try:
            with tracking(make=True) as client:
                if self.run_id is None:
                    self.start(client)
                assert self.run_id is not None
                log_metrics(client, self.run_id, points(lines))
        except UserError as error:
            if str(error) != self.told:
                self.told = str(error)
                print(f"not sent yet: {error}", flush=True)
            return False
        self.place += sum(map(len, lines))
        return True

    def new_lines(self) -> list[bytes]:
        """The complete lines behind the last one that was sent."""
        with self.table.open("rb") as stream:
            stream.seek(self.place)
            return [line for line in stream if line.endswith(b"\n")]

    def start(self, client: "MlflowClient") -> None:
        """Make the run, a child of the build's run if there is one."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        params = load_params()
        tags = {**fingerprints(params), "stage": self.stage}
        if parent := build_run_id():
            tags[PARENT] = parent
        self.run_id = client.create_run(
            experiment_id(client),
            start_time=int(1000 * self.started),
            run_name=self.stage,
            tags=tags,
        ).info.run_id
        self.write(status="RUNNING", parent=parent)
        section = params.model_dump(mode="json", by_alias=True).get(self.stage, {})
        log_params(client, self.run_id, section)
        self.monitor = SystemMetricsMonitor(self.run_id, sampling_interval=EVERY)
        self.monitor.start()

    def finish(self, end: Mapping[str, str]) -> bool:
        """Send the rest, and how the stage ended; whether the store took it."""
        if not self.send():
            return False
        assert self.run_id is not None
        measured = Path("metrics") / f"{self.stage}.json"
        try:
            with tracking() as client:
                if end["status"] == "FINISHED" and measured.exists():
                    found = numbers(read_json(measured))
                    log_metrics(client, self.run_id, [(k, v, 0) for k, v in found.items()])
                if cause := end.get("cause"):
                    client.set_tag(self.run_id, NOTE, cause)
                if self.monitor:
                    self.monitor.finish()
                client.set_terminated(self.run_id, end["status"])
        except UserError as error:
            print(f"not sent yet: {error}", flush=True)
            return False
        digest = file_digest(measured) if measured.exists() else None
        self.write(status=end["status"], measured=digest, parent=build_run_id())
        return True

    def write(self, **values: str | None) -> None:
        write_json(LIVE / f"{self.stage}.json", {"run_id": self.run_id, **values})


def points(lines: Iterable[bytes]) -> list[tuple[str, float, int]]:
    """The values of lines of the table as (name, value, step)."""
    rows = csv.DictReader((line.decode() for line in lines), COLUMNS)
    return [
        (name, float(row[name]), int(row["step"]))
        for row in rows
        for name in COLUMNS[1:]
        if row["step"] != "step" and row[name]  # the first line names the columns
    ]


def shown_runs(client: "MlflowClient", metrics_dir: Path) -> dict[str, Any]:
    """The runs that stages made of themselves in this build, as far as they show the numbers that
    stand in `metrics_dir` and no other build has them."""
    from mlflow.exceptions import MlflowException

    found = {}
    for path in sorted(LIVE.glob("*.json")):
        told, measured = read_json(path), metrics_dir / path.name
        if told["status"] != "FINISHED" or told["parent"] != build_run_id():
            continue
        if not measured.exists() or told["measured"] != file_digest(measured):
            continue
        with suppress(MlflowException):  # of another store, or deleted
            run = client.get_run(told["run_id"])
            if run.info.lifecycle_stage == "active":
                found[path.stem] = run
    return found


def adopt(client: "MlflowClient", shown: Mapping[str, Any], *, parent: str) -> None:
    """The runs of stages become children of the build's."""
    for stage, run in shown.items():
        if run.data.tags.get(PARENT) != parent:
            client.set_tag(run.info.run_id, PARENT, parent)
            path = LIVE / f"{stage}.json"
            write_json(path, {**read_json(path), "parent": parent})


def main() -> None:
    """Send until the stage has ended and all is sent, or until that is in vain."""
    run, ended, hurried = StageRun(sys.argv[1], time.time()), threading.Event(), threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: hurried.set())
    words: list[str] = []

    def listen() -> None:
        words.append(sys.stdin.read())
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    brief = PATIENT if run.stage in CURVELESS else BRIEF
    if not ended.wait(brief):
        run.send()
    while not ended.wait(POLL):
        run.send()
    end = json.loads(words[0] or '{"status": "KILLED", "cause": "ended from outside"}')
    if run.run_id is None and end["status"] == "FINISHED" and time.time() < run.started + brief:
        return
    until = time.monotonic() + PATIENCE
    while not run.finish(end) and not hurried.wait(POLL) and time.monotonic() < until:
        pass


if __name__ == "__main__":
    main()
