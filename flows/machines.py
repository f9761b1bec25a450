"""The flow `train`: one training stage on several machines of a work pool at once.

Its run leads: it asks for a run of `join` on each of the other machines, whose workers are free,
and all of them meet at its address. The clone lies on a file system that all machines see; DVC
runs on the leading one.
"""

import os
from collections.abc import Iterable
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling, Completed, Failed
from pydantic import Field

from diffutron.operations.graph import command_of
from diffutron.operations.why import changes, sentence
from diffutron.training.hosts import (
    IS_RENDEZVOUS_HOST,
    NUMBER,
    RENDEZVOUS,
    address_towards,
    free_port,
)
from flows.pipeline import training_slot
from flows.stage import CommandFailed, report_failure, run_command, run_stage

ADDRESS = "DIFFUTRON_ADDRESS"  # of this machine, where several are possible

Trained = Literal["backbone", "pretrain", "instruct_phase1", "instruct_phase2"]
Number = Annotated[int, Field(ge=2, le=512)]


@flow(name="train")
def train(stage: Trained = "pretrain", machines: Number = 2, force: bool = False) -> State:
    """Train one stage on several machines; the stages before it must be up to date.

    Args:
        stage: What to train.
        machines: How many machines take part, this one included. Each needs a free worker.
        force: Train although nothing has changed.
    """
    with training_slot():
        try:
            stale = changes()
        except RuntimeError as error:
            return Failed(message=str(error))
        if stage not in stale and not force:
            return Completed(message=f"{stage}: nothing it depends on has changed")
        return train_together(stage, machines, why=sentence(stage, stale), force=force)


def train_together(stage: str, machines: int, *, why: str, force: bool) -> State:
    """Lead: run the stage here, and runs of `join` on `machines - 1` other machines."""
    head = f"{own_address()}:{free_port()}"
    others = [ask_for_another(stage, machines, head) for _ in range(machines - 1)]
    get_run_logger().info("waiting for %d more machines at %s", len(others), head)
    try:
        state = run_stage.with_options(name=stage, task_run_name=stage)(
            stage,
            why=why,
            force=force,
            extra=meeting(machines, head, leads=True),
            return_state=True,
        )
    except BaseException:  # a cancel: nobody may wait for this machine any more
        cancel(others)
        raise
    if state.is_failed():
        cancel(others)
        return Failed(message=state.message)
    return Completed(message=f"trained {stage} on {machines} machines")


@flow(name="join")
def join(stage: Trained, machines: Number, head: str) -> State:
    """Take part in a training that another machine leads; `train` asks for it.

    Args:
        stage: What is trained.
        machines: How many machines take part.
        head: Address and port at which they meet.
    """
    log = get_run_logger()
    try:
        run_command(
            ["sh", "-c", command_of(stage)],
            log=lambda line: log.info("%s", line),
            extra=meeting(machines, head, leads=False),
        )
    except CommandFailed as failure:
        return report_failure(stage, failure)
    return Completed(message=f"took part in {stage}")


def meeting(machines: int, head: str, *, leads: bool) -> dict[str, str]:
    """What `diffutron.training.hosts` reads."""
    return {NUMBER: str(machines), RENDEZVOUS: head, IS_RENDEZVOUS_HOST: str(int(leads))}


def ask_for_another(stage: str, machines: int, head: str) -> UUID:
    """A run of `join` for whichever worker is free; its id."""
    parameters = {"stage": stage, "machines": machines, "head": head}
    run: Any = run_deployment("join/join", parameters=parameters, timeout=0)
    return run.id


def cancel(runs: Iterable[UUID]) -> None:
    with get_client(sync_client=True) as client:
        for run in runs:
            if not client.read_flow_run(run).state.is_final():  # type: ignore[union-attr]
                client.set_flow_run_state(run, Cancelling())


def own_address() -> str:
    """DIFFUTRON_ADDRESS, or the address from which this machine speaks to the Prefect server."""
    if given := os.environ.get(ADDRESS):
        return given
    server = urlsplit(PREFECT_API_URL.value() or "http://127.0.0.1:4200")
    return address_towards(server.hostname or "127.0.0.1", server.port or 80)
