"""The flow `evaluate`: score the models there are and write the report, train nothing."""

from prefect import flow
from prefect.client.schemas.objects import State

from flows.pipeline import bring_up_to_date, training_slot

STAGES = ("evaluate", "report")


@flow(name="evaluate")
def evaluate(rerun: bool = False) -> State:
    """Score base, merged, phase 1 and phase 2 and write the report.

    Args:
        rerun: Run again even where DVC sees no change. What a model of the same bytes has answered
            to the tasks is not asked again.
    """
    with training_slot():
        return bring_up_to_date(STAGES, force=rerun)
