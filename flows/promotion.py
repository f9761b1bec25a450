"""The flow `promote`: show the evidence, ask a person, move `champion` only on a yes."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from flows.stage import CommandFailed, report_failure, run_command

REGISTERED = Path("registry/registered.json")
DOES_NOT_HOLD = 1  # exit code of `diffutron gate`
AGAINST = (
    "the gate does not hold; nothing moved: run again and approve with `override_gate`, which "
    "stays on record, or build a better version"
)


class Decision(RunInput):
    """What a person answers in the form of the paused run."""

    decision: Literal["reject", "approve"] = Field("reject", description="Move `champion`?")
    by: str = Field("", description="Who decides")
    reason: str = Field("", description="Why")
    override_gate: bool = Field(
        False, description="Approve although the gate does not hold; it stays on record"
    )


@flow(name="promote")
def promote(
    version: Annotated[int, Field(ge=1)] | None = None,
    max_drop: Annotated[float, Field(ge=0, le=1)] = 0.10,
    use: Literal["research", "commercial"] = "research",
    hours: Annotated[int, Field(ge=1, le=168)] = 24,
) -> State:
    """Judge a version, ask whether it becomes `champion`, and move the alias on a yes.

    Args:
        version: Number of the version; empty for the one that the last build registered.
        max_drop: By how much the accuracy on a single task may lie below the champion's.
        use: What the licenses of the training data must allow.
        hours: How long to wait for an answer; without one nothing moves.
    """
    number = version or last_registered()
    if number is None:
        return Failed(message=f"{REGISTERED} names no version: run `build`, or give a version")
    judged = gate(number, max_drop, use, return_state=True)
    if judged.is_failed():
        return Failed(message=judged.message)
    found: dict[str, Any] = judged.result()
    shown = comparison(found)
    create_markdown_artifact(key="gate", markdown=shown, description="version against champion")
    try:
        answer = pause_flow_run(
            wait_for_input=Decision.with_initial_data(description=shown), timeout=3600 * hours
        )
    except FlowPauseTimeout:  # the server calls such a run failed, whatever is returned here
        get_run_logger().warning("no answer within %s h; nothing moved", hours)
        return Failed(message=f"no answer within {hours} h; nothing moved")
    if answer.decision == "reject":
        return Completed(name="Rejected", message=f"by {answer.by}: {answer.reason}")
    if not found["holds"] and not answer.override_gate:
        return Failed(message=AGAINST)
    options = ["--over", str(found["champion"] or 0), "--max-drop", str(max_drop), "--use", use]
    if answer.override_gate:
        options.append("--override-gate")
    return move(number, by=answer.by, reason=answer.reason, options=options)


def last_registered() -> int | None:
    if not REGISTERED.exists():
        return None
    return json.loads(REGISTERED.read_text(encoding="utf-8")).get("version")


@task(name="gate", task_run_name="gate", persist_result=False)
def gate(version: int, max_drop: float, use: str) -> Any:
    """What `diffutron gate` finds; a gate that does not hold is a finding, not a failure."""
    log = get_run_logger()
    command = [sys.executable, "-m", "diffutron", "gate", str(version), "--json"]
    lines: list[str] = []

    def keep(line: str) -> None:
        lines.append(line)
        log.debug("%s", line)

    try:
        run_command([*command, "--max-drop", str(max_drop), "--use", use], log=keep)
    except CommandFailed as failure:
        if failure.code != DOES_NOT_HOLD or "{" not in lines:
            return report_failure("gate", failure)
    found = json.loads("\n".join(lines[lines.index("{") : lines.index("}") + 1]))
    log.info("the gate %s", "holds" if found["holds"] else "does not hold")
    return found


def comparison(found: dict[str, Any]) -> str:
    """The gate as Markdown: the verdict, the tasks side by side, each condition."""
    rival = found["champion"]
    verdict = "The gate **holds**." if found["holds"] else "The gate **does not hold**."
    against = f"the `champion`, version {rival}" if rival else "nothing: there is no other champion"
    lines = [f"Make **version {found['version']}** the `champion`? {verdict}", ""]
    lines += [f"Compared with {against}.", ""]
    if compared := found["comparison"]:
        lines += ["| task | items | champion | version | difference |", "|---|---|---|---|---|"]
        lines += [
            f"| {task} | {one['n']} | {100 * one['champion_acc']:.1f} | {100 * one['acc']:.1f} | "
            f"{100 * one['difference']:+.1f} |"
            for task, one in compared["tasks"].items()
        ]
        lines += [
            f"| mean | {compared['n']} | | | {100 * compared['mean_difference']:+.1f} "
            f"(95 %: at least {100 * compared['low']:+.1f}) |",
            "",
        ]
    lines += ["| | condition | found | wanted |", "|---|---|---|---|"]
    for one in found["conditions"]:
        value = "not measured" if one["found"] is None else one["found"]
        text = f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "/")
        lines.append(
            f"| {'holds' if one['holds'] else '**fails**'} | {one['name']} | {text} | "
            f"{one['wanted']} |"
        )
    return "\n".join(lines)


def move(version: int, *, by: str, reason: str, options: Sequence[str]) -> State:
    """Promote, unless another version has become the champion since the comparison."""
    log = get_run_logger()
    command = [sys.executable, "-m", "diffutron", "promote", str(version)]
    command += ["--by", by, "--reason", reason, *options]
    try:
        run_command(command, log=lambda line: log.info("%s", line))
    except CommandFailed as failure:
        return report_failure("promote", failure)
    return Completed(name="Promoted", message=f"version {version} is champion, by {by}: {reason}")
