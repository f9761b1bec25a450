"""`python -m flows.serve`: the deployments, served from this machine (`diffutron up` starts it)."""

import asyncio

from prefect.client.orchestration import get_client
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner

from flows.evaluation import evaluate
from flows.leaderboard import leaderboard
from flows.pipeline import SLOT, build
from flows.promotion import promote

BUILD = (
    "From raw text to a registered model, in eleven stages; what is up to date is skipped. "
    "**Run, Quick run** builds with params.yaml as it is; **Custom run** chooses a profile, "
    "the stages and settings. Cancel ends every process; the next run goes on where it stopped."
)
EVALUATE = (
    "Scores the models in `models/` on held-out text, the seven tasks and instructions, "
    "and writes the report. Trains nothing."
)
LEADERBOARD = (
    "Scores the systems of infra/systems.yaml on the seven tasks, with intervals, paired tests and "
    "canaries; the table is an artifact of the run. Stopped runs go on where they were."
)
PROMOTE = (
    "Shows the evidence of a version, waits for a decision (open the run, **Resume**), "
    "and moves the alias `champion` when it is approved. No answer means that nothing moves."
)


async def main() -> None:
    async with get_client() as client:
        await client.upsert_global_concurrency_limit_by_name(SLOT, 1)
    # `prefect.serve` would pause the schedules when it ends.
    runner = Runner(limit=4, pause_on_shutdown=False)
    for deployment in await deployments():
        await runner.aadd_deployment(deployment)
    print("serving build, evaluate, leaderboard, promote", flush=True)
    await runner.start()


async def deployments() -> list[RunnerDeployment]:
    return [
        await build.ato_deployment(
            "build", description=BUILD, tags=["training"], concurrency_limit=1
        ),
        await evaluate.ato_deployment("evaluate", description=EVALUATE, tags=["evaluation"]),
        await leaderboard.ato_deployment(
            "leaderboard", description=LEADERBOARD, tags=["evaluation"], concurrency_limit=1
        ),
        await promote.ato_deployment("promote", description=PROMOTE, tags=["registry"]),
    ]


if __name__ == "__main__":
    asyncio.run(main())
