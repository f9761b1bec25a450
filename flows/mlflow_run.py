"""The MLflow run of a build: there from its start, linked, and ended as the build ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from prefect.artifacts import create_link_artifact
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from diffutron.config.params import load_params
from diffutron.operations.live import tracked
from diffutron.registry.mlflow_runs import end_build, start_build
from diffutron.registry.registered import REGISTERED
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import read_json
from diffutron.runtime.live import BUILD_RUN


@dataclass
class Shown:
    """environment: what tells the stages of the run; empty where there is none."""

    environment: dict[str, str] = field(default_factory=dict)
    state: State | None = None  # of the build, at its end


@contextmanager
def mlflow_run(*, wanted: bool, registers: bool) -> Iterator[Shown]:
    """The block is a build; its `state` says how the run ends, an exception that it was cut off.

    A store that does not answer costs the run, which `register` then makes, and not the build.

    Args:
        wanted: Whether anything will run.
        registers: Whether `register` will.
    """
    shown = Shown()
    try:
        if wanted and tracked():
            shown.environment = {BUILD_RUN: _start()}
    except UserError as error:
        get_run_logger().warning("not in MLflow before its end: %s", error)
    try:
        yield shown
    except BaseException as error:
        told = " ".join(str(error).split())
        if isinstance(error, Exception):
            _end(shown, "FAILED", told or type(error).__name__)
        else:
            _end(shown, "KILLED", told or "cancelled")
        raise
    state = shown.state
    failed = state is None or state.is_failed()
    cause = (state.message if state else None) or "no state"
    _end(shown, "FAILED" if failed else "FINISHED", cause if failed else "")
    if registers and not failed and not shown.environment and _server() and REGISTERED.exists():
        made = read_json(REGISTERED)
        _link(made["experiment_id"], made["run_id"])


def _start() -> str:
    tags = {"entry_point": "flow build", "prefect_flow_run": str(flow_run.id)}
    experiment, run = start_build(load_params(), tags)
    _link(experiment, run)
    return run


def _server() -> str:
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    return address.rstrip("/") if address.startswith("http") else ""


def _link(experiment: str, run: str) -> None:
    """Where a server shows the run."""
    if server := _server():
        create_link_artifact(
            key="mlflow-run",
            link=f"{server}/#/experiments/{experiment}/runs/{run}",
            link_text="run in MLflow",
            description="parameters, metrics, curves and files of this build",
        )


def _end(shown: Shown, status: str, cause: str) -> None:
    if not shown.environment:
        return
    try:
        end_build(shown.environment[BUILD_RUN], status, cause)
    except UserError as error:
        get_run_logger().warning("the run in MLflow is left open: %s", error)
