"""The flow `build`: raw text to registered model, one task a stage; DVC decides what runs."""

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import httpx
from prefect import flow, task
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import ConcurrencyLeaseHolder, State
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.settings import get_current_settings
from prefect.states import Completed, Failed

from diffutron.config.params import Stage, load_params
from diffutron.operations.check import check
from diffutron.operations.graph import all_needs, direct_needs, stages_between
from diffutron.operations.why import Changes, changes, sentence
from diffutron.registry.registered import REGISTERED
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import read_json
from diffutron.runtime.tables import markdown_table
from flows.form import Settings
from flows.mlflow_run import mlflow_run
from flows.stage import UP_TO_DATE, Bar, CommandFailed, report_failure, run_command, run_stage

SLOT = "training"  # the global concurrency limit that `flows.serve` creates
LEASE = 60  # seconds after which the slot of a run that was killed is free again
WAIT = 15  # seconds between two log lines while waiting for the slot
REPORT = Path("report/report.md")
PARAMS = Path("params.yaml")
NOT_REGISTERED = "NotRegistered"  # name of the state of a build whose model the gate refuses
QUICK = {"merge", "report", "register"}  # stages that take seconds, less than a plan does

Profile = Literal["current", "demo", "small", "paper"]
Executor = Literal["local", "ray", "slurm"]


def run_name() -> str:
    """What a run does, as far as it was asked for: `build demo, pretrain.training.steps=400`."""
    given = {"profile": "current", "first": "tokenizer", "last": "register", "overrides": []}
    given |= flow_run.parameters
    changed = Settings.model_validate(given.get("settings") or {}).overrides()
    name = "build" if given["profile"] == "current" else f"build {given['profile']}"
    if (given["first"], given["last"]) != ("tokenizer", "register"):
        name += f" from {given['first']} to {given['last']}"
    return ", ".join([name, *changed, *given["overrides"]])


@flow(name="build", flow_run_name=run_name)
def build(
    profile: Profile = "current",
    settings: Settings = Settings(),  # noqa: B008 as `overrides`
    first: Stage = "tokenizer",
    last: Stage = "register",
    overrides: list[str] = [],  # noqa: B006 Prefect reads the default for its form, nobody changes it
    force: bool = False,
    executor: Executor | None = None,
) -> State:
    """Bring the stages from `first` to `last` up to date and register the model.

    Args:
        profile: Settings to build with. "current" takes params.yaml as it is; another one writes
            params.yaml anew from infra/profiles (demo: minutes on a laptop; small: real Turkish
            data, two hours on a laptop; paper: the published settings, needs GPUs).
        settings: The settings that people change most. What is left empty stays as it is.
        first: The stage to begin with; stages before it are left as they are.
        last: The stage to end with.
        overrides: Other settings to change, one an entry, for example backbone.num_layers=6.
        force: Let a profile replace a params.yaml that was changed by hand (it is kept as
            params.yaml.orig).
        executor: Who cleans the shards of the corpus. Left empty, the DIFFUTRON_EXECUTOR of the
            machine that runs the stages says it, else `local`.
    """
    try:
        stages = stages_between(first, last)
    except UserError as error:
        return Failed(message=str(error))
    with training_slot():
        left, overrides = "", [*settings.overrides(), *overrides]
        if profile != "current" or overrides:
            composed = compose_params(profile, overrides, force, return_state=True)
            if composed.is_failed():
                return Failed(message=composed.message)
            left = f"; {composed.message}"
        extra = {"DIFFUTRON_EXECUTOR": executor} if executor else None
        state = bring_up_to_date(stages, extra=extra)
        if left and state.is_completed():
            return Completed(name=state.name, message=f"{state.message}{left}")
        return state


@task(name="params", task_run_name="params")
def compose_params(profile: str, overrides: Sequence[str], force: bool) -> State:
    """Write params.yaml with `diffutron params`, which checks each value and says what changed."""
    command = [sys.executable, "-m", "diffutron", "params", "--profile", profile]
    command += [part for override in overrides for part in ("-S", override)]
    log, said = get_run_logger(), [""]

    def tell(line: str) -> None:
        log.info("%s", line)
        said.append(line)

    try:
        run_command(command if force else [*command, "--keep-changes"], log=tell)
    except CommandFailed as failure:
        return report_failure("params", failure)
    return Completed(message=said[-1])


def bring_up_to_date(
    stages: Sequence[str], *, force: bool = False, extra: Mapping[str, str] | None = None
) -> State:
    """Run the stages in turn where DVC sees a change (all, by `force`); a failure ends it.

    Args:
        extra: What the environment of the stages holds besides.
    """
    try:
        stale = changes()
    except RuntimeError as error:
        return Failed(message=str(error))
    gone = gone_version() if "register" in stages else ""
    if gone:
        stale.setdefault("register", []).append(gone)
    if (force or stale) and (fault := lacking()):
        return Failed(message=fault)
    needs = all_needs()
    runs: set[str] = set()
    for stage in stages:
        if force or stage in stale or needs[stage] & runs:
            runs.add(stage)
    seconds = publish_plan(stages, stale, runs, force=force)
    with mlflow_run(wanted=bool(runs), registers="register" in runs) as shown:
        state = run_stages(
            stages,
            {stage: why(stage, stale, needs[stage]) for stage in stages},
            runs,
            forced=set(stages) if force else {"register"} if gone else set(),
            seconds=seconds,
            extra={**(extra or {}), **shown.environment},
        )
        shown.state = state
    return state if state.is_failed() else outcome(stages, runs)


def outcome(stages: Sequence[str], runs: Collection[str]) -> State:
    """How a build ended whose stages did not fail: by name, and in words."""
    told = f"ran {', '.join(s for s in stages if s in runs) or 'nothing'}"
    if "register" in stages and REGISTERED.exists():
        found = read_json(REGISTERED)
        if not found["registered"]:
            return Failed(name=NOT_REGISTERED, message=refusal(found))
        if "register" in runs:
            return Completed(name=f"Registered v{found['version']}", message=told)
    return Completed(message=told) if runs else Completed(name=UP_TO_DATE, message=told)


def refusal(found: Mapping[str, Any]) -> str:
    """Why there is no version, by the file of the stage `register`."""
    return f"the gate refuses the model: {'; '.join(found['failed'])}"


def run_stages(
    stages: Sequence[str],
    reasons: Mapping[str, str],
    runs: Collection[str],
    *,
    forced: Collection[str],
    seconds: Mapping[str, float],
    extra: Mapping[str, str],
) -> State:
    """One task a stage; those not in `runs` are marked as up to date.

    Args:
        reasons: Why a stage runs, told in its log.
        forced: Stages in which DVC sees no change, and that run in any case.
        seconds: What the stages take by the plan, for the progress; equal shares where it is empty.
        extra: What the environment of the stages holds besides.
    """
    shares = [max(seconds.get(stage, 1.0), 1.0) if stage in runs else 0.0 for stage in stages]
    whole = sum(shares) or 1.0
    progress = create_progress_artifact(0.0, key="progress", description=", ".join(stages))
    assert isinstance(progress, UUID)
    direct, states = direct_needs(), dict[str, State]()
    for number, stage in enumerate(stages):
        state = run_stage.with_options(name=stage, task_run_name=stage)(
            stage,
            up_to_date=stage not in runs,
            why=reasons[stage],
            force=stage in forced,
            bar=Bar(progress, sum(shares[:number]) / whole, shares[number] / whole)
            if stage in runs
            else None,
            extra=extra,
            return_state=True,
            # They have ended; this draws the lines of the graph.
            wait_for=[states[other] for other in sorted(direct[stage]) if other in states],
        )
        if state.is_failed():
            return Failed(message=state.message)
        states[stage] = state
    update_progress_artifact(progress, progress=100.0, description=", ".join(stages))
    if "report" in stages:
        publish_report()
    return Completed(message="done")


def gone_version() -> str:
    """That the version of the last build is gone from the registry; "" where it is there.

    A registry that does not answer is told in the log: it is no reason to run a stage.
    """
    from diffutron.registry.registered import last_registered

    found = last_registered()
    try:
        gone = found is not None and found.aliases() is None
    except UserError as error:
        get_run_logger().warning("whether %s is still registered is not known: %s", found, error)
        return ""
    return f"{found} is gone from the registry" if gone else ""


def lacking() -> str:
    """What `diffutron check` finds missing of what params.yaml names; "" where all is there."""
    if not PARAMS.exists():
        return ""
    try:
        found = check(load_params(PARAMS))
    except UserError as error:
        return str(error)
    log = get_run_logger()
    for one in found:
        (log.info if one.ok else log.error)("%s: %s", one.name, one.text)
    return "; ".join(f"{one.name}: {one.text}" for one in found if not one.ok)


def why(stage: str, stale: Changes, needed: set[str]) -> str:
    """What has changed for a stage, by itself or through the stages that it needs."""
    return sentence(stage, {name: stale[name] for name in stale if name in {stage, *needed}})


def publish_plan(
    stages: Sequence[str], stale: Changes, runs: Collection[str], *, force: bool
) -> dict[str, float]:
    """Before anything runs: which stages will, why, and what a build costs that takes its time.

    Returns:
        The seconds of each stage by the plan; empty where none was made.
    """
    needs = all_needs()
    rows = [
        (stage, "runs in any case" if force else why(stage, stale, needs[stage]))
        for stage in stages
    ]
    lines = [markdown_table(["stage", ""], rows)]
    seconds: dict[str, float] = {}
    if PARAMS.exists() and not QUICK.issuperset(runs):
        cost, planned = "", list[str]()
        try:
            run_command([sys.executable, "-m", "diffutron", "plan", "--json"], log=planned.append)
        except CommandFailed as failure:
            cost = f"not planned: {failure.cause}"
        else:
            said = "\n".join(planned)  # a library may have warned before or behind
            found, _ = json.JSONDecoder().raw_decode(said, said.index("{"))
            seconds = {one["name"]: 3600 * one["hours"] for one in found["stages"]}
            what = f"Profile {found['profile']}: what a whole build costs (`diffutron plan`)."
            cost = f"{what}\n\n{cost_table(found['stages'])}"
        lines += ["", cost]
    create_markdown_artifact(
        key="plan", markdown="\n".join(lines), description="what will run, why, at what cost"
    )
    return seconds


def cost_table(costs: Sequence[Mapping[str, Any]]) -> str:
    """The stages of a plan, and their sum."""
    rows = [
        (one["name"], f"{one['tokens']:,}", f"{one['memory_bytes_per_rank'] / 1e9:.2f}")
        + (f"{60 * one['hours']:,.1f}",)
        for one in costs
    ]
    rows.append(("all", "", "", f"{60 * sum(one['hours'] for one in costs):,.1f}"))
    return markdown_table(["stage", "tokens", "memory per rank, GB", "minutes"], rows)


def check_server() -> None:
    """Raise UserError where the server that Prefect is set to does not answer or refuses us."""
    if not (url := get_current_settings().api.url):
        return  # Prefect starts a temporary one
    with get_client(sync_client=True) as client:
        try:
            client.api_version()
        except httpx.HTTPStatusError as error:
            raise UserError(
                f"Prefect at {url} answers {error.response.status_code}; set "
                "PREFECT_API_AUTH_STRING=USER:PASSWORD to what the server asks for"
            ) from error
        except httpx.TransportError as error:
            raise UserError(
                f"Prefect at {url}: no answer; start the server (`diffutron up`) or unset "
                "PREFECT_API_URL to use a temporary one"
            ) from error


@contextmanager
def training_slot() -> Iterator[None]:
    """Hold the one slot for training, where the server has such a limit; say so while waiting.

    Not a limit of the deployment: Prefect holds that one for five minutes after a crash, says
    nothing while a run waits, and ends a run when the server is away for as long.
    """
    if not _slot_exists():
        yield
        return
    holder = ConcurrencyLeaseHolder(type="flow_run", id=UUID(flow_run.id))
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(
                    concurrency(
                        SLOT,
                        timeout_seconds=WAIT,
                        lease_duration=LEASE,
                        # A server that is away for a minute must not end a training of days.
                        raise_on_lease_renewal_failure=False,
                        holder=holder,
                    )
                )
                break
            except TimeoutError:
                get_run_logger().info("waiting for the training slot: another run holds it")
        yield


def _slot_exists() -> bool:
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(SLOT)
        except ObjectNotFound:
            return False
        return True


def publish_report() -> None:
    """Put the report into the artifacts of the run."""
    create_markdown_artifact(
        key="report", markdown=REPORT.read_text(encoding="utf-8"), description="what was measured"
    )
    page = REPORT.with_suffix(".html").resolve()
    create_link_artifact(
        key="report-page",
        link=page.as_uri(),
        link_text=str(page),
        description="the same with figures, to open in a browser",
    )
