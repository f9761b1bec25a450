"""The flow `promote`: show the evidence, ask a person, move `champion` only on a yes."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from diffutron.runtime.errors import UserError

if TYPE_CHECKING:
    from diffutron.registry.promotion_gate import Verdict

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
    max_drop: Annotated[float, Field(ge=0, le=1)] | None = None,
    use: Literal["research", "commercial"] = "research",
    hours: Annotated[int, Field(ge=1, le=168)] = 24,
) -> State:
    """Judge a version, ask whether it becomes `champion`, and move the alias on a yes.

    Args:
        version: Number of the version; empty for the one that the last build registered.
        max_drop: By how much the accuracy on a single task may lie below the champion's; empty for
            `promote.max_drop` of `params.yaml`.
        use: What the licenses of the training data must allow.
        hours: How long to wait for an answer; without one nothing moves.
    """
    try:
        number = version or last_registered()
    except UserError as error:
        return Failed(message=str(error))
    judged = gate(number, max_drop, use, return_state=True)
    if judged.is_failed():
        return Failed(message=judged.message)
    found: Verdict = judged.result()
    shown = comparison(found.as_json())
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
    if not found.holds and not answer.override_gate:
        return Failed(message=AGAINST)
    return move(found, answer)


def last_registered() -> int:
    """The version that the last build registered. Raises UserError where there is none."""
    from diffutron.cli.registry import project
    from diffutron.registry.registered import require_last_registered

    return require_last_registered(project()["name"])


@task(name="gate", task_run_name="gate", persist_result=False)
def gate(version: int, max_drop: float | None, use: Literal["research", "commercial"]) -> Any:
    """What the gate finds; one that does not hold is a finding, not a failure."""
    from diffutron.cli.registry import project
    from diffutron.registry.promotion_gate import judge

    try:
        found = judge(version, **project(), max_drop=max_drop, use=use)
    except UserError as error:
        return Failed(message=f"gate: {error}")
    get_run_logger().info("the gate %s", "holds" if found.holds else "does not hold")
    return found


def comparison(found: dict[str, Any]) -> str:
    """The gate as Markdown: the verdict, the tasks side by side, each condition."""
    from diffutron.runtime.tables import markdown_table

    rival = found["champion"]
    verdict = "The gate **holds**." if found["holds"] else "The gate **does not hold**."
    against = f"the `champion`, version {rival}" if rival else "nothing: there is no other champion"
    parts = [f"Make **version {found['version']}** the `champion`? {verdict}"]
    parts += [f"Compared with {against}."]
    if compared := found["comparison"]:
        rows = [
            [
                task,
                one["n"],
                f"{100 * one['champion_acc']:.1f}",
                f"{100 * one['acc']:.1f}",
                f"{100 * one['difference']:+.1f}",
            ]
            for task, one in compared["tasks"].items()
        ]
        mean = f"{100 * compared['mean_difference']:+.1f}"
        rows.append(
            ["mean", compared["n"], "", "", f"{mean} (95 %: at least {100 * compared['low']:+.1f})"]
        )
        parts.append(markdown_table(["task", "items", "champion", "version", "difference"], rows))
    rows = []
    for one in found["conditions"]:
        value = "not measured" if one["found"] is None else one["found"]
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        rows.append(["holds" if one["holds"] else "**fails**", one["name"], text, one["wanted"]])
    parts.append(markdown_table(["", "condition", "found", "wanted"], rows))
    return "\n\n".join(parts)


def move(found: "Verdict", answer: Decision) -> State:
    """Promote, unless another version has become the champion since the comparison."""
    from diffutron.cli.registry import project
    from diffutron.registry.promote import promote as move_alias

    try:
        move_alias(
            found.version,
            by=answer.by,
            reason=answer.reason,
            name=project()["name"],
            expected_champion=found.champion or 0,
            evidence=found.as_evidence(),
            override_gate=answer.override_gate,
        )
    except UserError as error:
        return Failed(message=f"promote: {error}")
    by = f"by {answer.by}: {answer.reason}"
    return Completed(name="Promoted", message=f"version {found.version} is champion, {by}")
