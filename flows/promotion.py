"""The flow `promote`: show the evidence, ask a person, move `champion` only on a yes."""

import sys
from typing import Annotated, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.states import Completed
from pydantic import Field

from flows.stage import CommandFailed, report_failure, run_command


class Decision(RunInput):
    """What a person answers in the form of the paused run."""

    decision: Literal["reject", "approve"] = Field("reject", description="Move `champion`?")
    by: str = Field("", description="Who decides")
    reason: str = Field("", description="Why")


@flow(name="promote")
def promote(version: str = "challenger", hours: Annotated[int, Field(ge=1, le=168)] = 24) -> State:
    """Ask whether a version becomes `champion`, and move the alias when the answer is yes.

    Args:
        version: The version of the registered model, a number or an alias.
        hours: How long to wait for an answer; without one nothing moves.
    """
    log = get_run_logger()
    question = (
        f"Promote **diffutron {version}** to `champion`? Evidence: the report in the artifacts."
    )
    answer = pause_flow_run(
        wait_for_input=Decision.with_initial_data(description=question),
        timeout=3600 * hours,
    )
    if answer.decision == "reject":
        return Completed(name="Rejected", message=f"{answer.by or 'nobody named'}: {answer.reason}")
    command = [sys.executable, "-m", "diffutron", "promote", version]
    try:
        run_command(
            [*command, "--by", answer.by, "--reason", answer.reason],
            log=lambda line: log.info("%s", line),
        )
    except CommandFailed as failure:
        return report_failure("promote", failure)
    return Completed(name="Promoted", message=f"{version} is champion: {answer.reason}")
