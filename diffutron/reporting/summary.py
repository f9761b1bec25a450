"""`metrics/summary.json`: the numbers of a run in one file, with a fixed set of keys."""

from typing import Any

from diffutron.config.params import TASKS
from diffutron.paper.published import MODELS
from diffutron.reporting.inputs import Inputs

TASK_KEYS = (
    "n",
    "correct",
    "acc",
    "acc_norm",
    "low",
    "high",
    "chance",
    "constant",
    "p_value",
)
INSTRUCTION_KEYS = ("n", "correct", "acc")
GENERATION_KEYS = ("valid_words", "distinct_2", "repetition", "empty")


def build_summary(inputs: Inputs, *, profile: str) -> dict[str, Any]:
    """The summary of a run; a number that was not measured is null, never absent."""
    measured = inputs.evaluate.get("models", {})
    seconds = {stage: values.get("seconds") for stage, values in inputs.metrics.items()}
    devices = {values["device"] for values in inputs.metrics.values() if values.get("device")}
    return {
        "profile": profile,
        "models": {model: _model(measured.get(model) or {}) for model in MODELS},
        "seconds": seconds,
        "device": ", ".join(sorted(devices)) or None,
    }


def _model(measured: dict[str, Any]) -> dict[str, Any]:
    tasks = measured.get("tasks") or {}
    order = [task for task in TASKS if task in tasks] + [t for t in tasks if t not in TASKS]
    return {
        "bits_per_byte": measured.get("bits_per_byte"),
        "nelbo": measured.get("nelbo"),
        "perplexity": measured.get("perplexity") or {},
        "tasks": {task: _pick(tasks[task], TASK_KEYS) for task in order},
        "instructions": _pick(measured.get("instructions"), INSTRUCTION_KEYS),
        "generation": _pick(measured.get("generation"), GENERATION_KEYS),
    }


def _pick(values: dict[str, Any] | None, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: (values or {}).get(key) for key in keys}
