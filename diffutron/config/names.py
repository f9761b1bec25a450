"""What the checkpoints of a run and the tasks are called where people read of them."""

from collections.abc import Iterable

MODEL_NAMES = {  # in the order in which they come to be
    "base": "Backbone",
    "merged": "After pre-training",
    "phase1": "Instruction phase 1",
    "phase2": "Instruction phase 2",
}
MODELS = tuple(MODEL_NAMES)

TASK_NAMES = {
    "belebele_tr": "Belebele_TR",
    "exams_tr": "EXAMS_TR",
    "ironytr": "IronyTR",
    "news_cat": "News_Cat",
    "mnli_tr": "MNLI_TR",
    "sts_tr": "STS_TR",
    "xcopa_tr": "XCOPA_TR",
}


def task_name(task: str) -> str:
    """What people read of a task: the published name of one of the seven, else its own."""
    return TASK_NAMES.get(task, task)


def in_order(tasks: Iterable[str]) -> list[str]:
    """Each task once: those of the seven in the published order, then the others as they come."""
    found = dict.fromkeys(tasks)
    return [*(task for task in TASK_NAMES if task in found),
            *(task for task in found if task not in TASK_NAMES)]  # fmt: skip


CALIBRATION = "calibration.json"  # of decisions, beside a model and in data/evaluation
