"""What the checkpoints of a run and the seven tasks are called where people read of them."""

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

CALIBRATION = "calibration.json"  # of decisions, beside a model and in data/evaluation
