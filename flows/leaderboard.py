"""The flow `leaderboard`: score systems on the seven tasks; the table as an artifact."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from prefect import flow
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from flows.stage import CommandFailed, report_failure, run_shown

OUT = Path("leaderboard")


@flow(name="leaderboard")
def leaderboard(
    only: str = "",
    tasks: str = "",
    data: str = "",
    protocol: Literal["corrected", "cetvel", "both", "dllm"] = "corrected",
    limit: Annotated[int, Field(ge=1)] | None = None,
    shots: Annotated[int, Field(ge=0, le=5)] = 0,
) -> State:
    """Score systems on the seven tasks; a run that was stopped goes on where it was.

    Args:
        only: Systems of infra/systems.yaml, separated by commas; empty for all of them.
        tasks: Tasks, separated by commas; empty for all seven.
        data: Folder of evaluation rows on the machine that runs this, "hub" or "sample"; empty for
            DIFFUTRON_DATA, or the hub.
        protocol: "corrected" is ours, "cetvel" has the published task text, "both" scores the two,
            "dllm" has the pair encoding of the public scorer with its lost token.
        limit: Items of each task at most; empty for all.
        shots: Solved examples before each question.
    """
    given = {
        "--only": only,
        "--tasks": tasks,
        "--data": data,
        "--protocol": protocol,
        "--limit": limit,
        "--shots": shots,
        "--out": OUT,
    }
    command = [sys.executable, "-m", "diffutron", "leaderboard"]
    command += [part for name, value in given.items() if value not in ("", None)
                for part in (name, str(value))]  # fmt: skip
    try:
        run_shown(command, name="leaderboard", line="leaderboard", unit="items")
    except CommandFailed as failure:
        publish(OUT)
        return report_failure("leaderboard", failure)
    publish(OUT)
    return Completed(message=f"the table is in {OUT}")


def publish(out: Path) -> None:
    """Put the table into the artifacts of the run, which says where a sanity check failed."""
    text = out / "leaderboard.md"
    if not text.exists():
        return
    create_markdown_artifact(
        key="leaderboard", markdown=text.read_text(encoding="utf-8"), description="what was scored"
    )
    page = text.with_suffix(".html").resolve()
    create_link_artifact(
        key="leaderboard-page", link=page.as_uri(), link_text=str(page), description="sortable"
    )
