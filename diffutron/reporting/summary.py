"""`metrics/full.json`: the numbers of a run in one file, with a fixed set of keys."""

from dataclasses import dataclass, fields
from typing import Any, TypeVar

from diffutron.config.names import MODELS, TASK_NAMES, in_order
from diffutron.reporting.inputs import Inputs

T = TypeVar("T")


@dataclass(frozen=True)
class TaskScore:
    """One model on one task; shares of 0 to 1, and the 95 % interval of `acc`."""

    n: int | None = None
    correct: int | None = None
    acc: float | None = None
    acc_norm: float | None = None
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    constant: float | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class AnswerScore:
    """Held-out instructions that were answered exactly."""

    n: int | None = None
    correct: int | None = None
    acc: float | None = None


@dataclass(frozen=True)
class TextScore:
    """What the generated text looks like, in shares of 0 to 1."""

    valid_words: float | None = None
    distinct_2: float | None = None
    repetition: float | None = None
    empty: float | None = None


@dataclass(frozen=True)
class ModelScores:
    """What was measured of one checkpoint; `perplexity` is by band of mask rates."""

    bits_per_byte: float | None
    nelbo: float | None
    perplexity: dict[str, float | None]
    tasks: dict[str, TaskScore]
    instructions: AnswerScore
    generation: TextScore

    def task(self, name: str) -> TaskScore:
        return self.tasks.get(name, TaskScore())


@dataclass(frozen=True)
class Summary:
    """The file: `asdict` gives its JSON. What was not measured is null, never absent."""

    profile: str
    models: dict[str, ModelScores]
    seconds: dict[str, float | None]
    device: str | None

    @property
    def tasks(self) -> list[str]:
        """The seven, then every other task that a model was asked."""
        asked = (task for scores in self.models.values() for task in scores.tasks)
        return in_order([*TASK_NAMES, *asked])


def build_summary(inputs: Inputs, *, profile: str) -> Summary:
    """The summary of a run."""
    devices = {values["device"] for values in inputs.metrics.values() if values.get("device")}
    return Summary(
        profile,
        {model: _scores(inputs.measured("models", model) or {}) for model in MODELS},
        {stage: values.get("seconds") for stage, values in inputs.metrics.items()},
        ", ".join(sorted(devices)) or None,
    )


def _scores(measured: dict[str, Any]) -> ModelScores:
    tasks = measured.get("tasks") or {}
    return ModelScores(
        measured.get("bits_per_byte"),
        measured.get("nelbo"),
        measured.get("perplexity") or {},
        {task: _picked(TaskScore, tasks[task]) for task in in_order(tasks)},
        _picked(AnswerScore, measured.get("instructions")),
        _picked(TextScore, measured.get("generation")),
    )


def _picked(kind: type[T], values: dict[str, Any] | None) -> T:
    names = [field.name for field in fields(kind)]  # pyright: ignore[reportArgumentType] a dataclass
    return kind(**{name: (values or {}).get(name) for name in names})
