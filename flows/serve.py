"""`python -m flows.serve`: the deployments, served from this machine (`diffutron up` starts it)."""

import argparse
import asyncio

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import StateType
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner
from prefect.server.concurrency.lease_storage import get_concurrency_lease_storage
from prefect.states import Crashed

from flows.evaluation import evaluate
from flows.leaderboard import leaderboard
from flows.pipeline import SLOT, build
from flows.promotion import promote
from flows.sweeping import sweep
from flows.tuning import tune

BUILD = (
    "From raw text to a registered model, in eleven stages; what is up to date is skipped. "
    "**Run, Quick run** builds with params.yaml as it is; **Custom run** chooses a profile, "
    "the stages and settings. Cancel ends every process; the next run goes on where it stopped. "
    "One training at a time: a second run waits for the first, and says so in its log."
)
EVALUATE = (
    "Scores the models in `models/` on held-out text, the tasks and instructions, "
    "and writes the report. Trains nothing."
)
LEADERBOARD = (
    "Scores the systems of infra/systems.yaml on the seven tasks, with intervals, paired tests and "
    "sanity checks; the table is an artifact of the run. Stopped runs go on where they were."
)
TUNE = (
    "Tunes a model on rows of your own: reads them, tells hours and memory, trains, and compares "
    "the answers to held-out rows before and after. A stopped run goes on where it was."
)
SWEEP = (
    "Tries changes to a recipe at equal compute, over seeds, and says which is better or worse, "
    "and where that cannot be told. What was run is kept: a stopped sweep goes on where it was."
)
PROMOTE = (
    "Shows the evidence of a version, waits for a decision (open the run, **Resume**), "
    "and moves the alias `champion` when it is approved. No answer means that nothing moves."
)
LOST = "ended together with the server or the machine; run it again, it goes on where it stopped"
AT_WORK = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED]
RUNS = 10  # at a time; most of them wait for the training slot, or for a person


async def main(*, alone: bool) -> None:
    found = await deployments()
    async with get_client() as client:
        await client.upsert_global_concurrency_limit_by_name(SLOT, 1)
        if alone:
            await end_lost_runs(client, [deployment.name for deployment in found])
    # `prefect.serve` would pause the schedules when it ends.
    runner = Runner(limit=RUNS, pause_on_shutdown=False)
    for deployment in found:
        await runner.aadd_deployment(deployment)
    print("serving build, evaluate, leaderboard, tune, sweep, promote", flush=True)
    await runner.start()


async def end_lost_runs(client: PrefectClient, names: list[str]) -> None:
    """Call the runs of these deployments crashed that were at work when everything ended.

    Nobody else would: what watched over them has ended as well. Their training slot is free at
    once; without this it would be so a minute later, when its lease runs out.
    """
    ours = DeploymentFilter.model_validate({"name": {"any_": names}})
    at_work = {"state": {"type": {"any_": AT_WORK}}}
    tasks = await client.read_task_runs(
        deployment_filter=ours, task_run_filter=TaskRunFilter.model_validate(at_work)
    )
    for task in tasks:
        await client.set_task_run_state(task.id, Crashed(message=LOST), force=True)
    runs = await client.read_flow_runs(
        deployment_filter=ours, flow_run_filter=FlowRunFilter.model_validate(at_work)
    )
    for run in runs:
        await client.set_flow_run_state(run.id, Crashed(message=LOST), force=True)
    limit = await client.read_global_concurrency_limit_by_name(SLOT)
    for lease, holder in await get_concurrency_lease_storage().list_holders_for_limit(limit.id):
        if holder.id in {run.id for run in runs}:
            await client.release_concurrency_slots_with_lease(lease)


async def deployments() -> list[RunnerDeployment]:
    return [
        await build.ato_deployment("build", description=BUILD, tags=["training"]),
        await evaluate.ato_deployment("evaluate", description=EVALUATE, tags=["evaluation"]),
        await leaderboard.ato_deployment(
            "leaderboard", description=LEADERBOARD, tags=["evaluation"], concurrency_limit=1
        ),
        await tune.ato_deployment("tune", description=TUNE, tags=["training"]),
        await sweep.ato_deployment("sweep", description=SWEEP, tags=["training"]),
        await promote.ato_deployment("promote", description=PROMOTE, tags=["registry"]),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m flows.serve", description=__doc__)
    parser.add_argument(
        "--alone",
        action="store_true",
        help="nothing else serves these deployments: a run that is at work by the server is lost",
    )
    asyncio.run(main(alone=parser.parse_args().alone))
