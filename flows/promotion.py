"""The flow `promote`: show the evidence, ask a person, move `champion` only on a yes."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from flows.pipeline import REPORT
from flows.stage import CommandFailed, report_failure, run_command

REGISTERED = Path("registry/registered.json")


class Decision(RunInput):
    """What a person answers in the form of the paused run."""

    decision: Literal["reject", "approve"] = Field("reject", description="Move `champion`?")
    by: str = Field("", description="Who decides")
    reason: str = Field("", description="Why")


@flow(name="promote")
def promote(
    version: Annotated[int, Field(ge=1)] | None = None,
    hours: Annotated[int, Field(ge=1, le=168)] = 24,
) -> State:
    """Ask whether a version becomes `champion`, and move the alias when the answer is yes.

    Args:
        version: Number of the version; empty for the one that the last build registered.
        hours: How long to wait for an answer; without one nothing moves.
    """
    number = version or last_registered()
    if number is None:
        return Failed(message=f"{REGISTERED} names no version: run `build`, or give a version")
    if REPORT.exists():
        create_markdown_artifact(key="report", markdown=REPORT.read_text(encoding="utf-8"))
    answer = pause_flow_run(
        wait_for_input=Decision.with_initial_data(
            description=f"Make **version {number}** the `champion`? The report of the last build "
            "is under Artifacts."
        ),
        timeout=3600 * hours,
    )
    if answer.decision == "reject":
        return Completed(name="Rejected", message=f"by {answer.by}: {answer.reason}")
    return move(number, by=answer.by, reason=answer.reason)


def last_registered() -> int | None:
    if not REGISTERED.exists():
        return None
    return json.loads(REGISTERED.read_text(encoding="utf-8")).get("version")


def move(version: int, *, by: str, reason: str) -> State:
    log = get_run_logger()
    command = [sys.executable, "-m", "diffutron", "promote", str(version)]
    try:
        run_command(
            [*command, "--by", by, "--reason", reason], log=lambda line: log.info("%s", line)
        )
    except CommandFailed as failure:
        return report_failure("promote", failure)
    return Completed(name="Promoted", message=f"version {version} is champion, by {by}: {reason}")
