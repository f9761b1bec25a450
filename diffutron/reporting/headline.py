"""The few figures at the head of the report, and one sentence that says what they come to."""

from dataclasses import dataclass

from diffutron.config.names import MODELS
from diffutron.pages import format
from diffutron.reporting.inputs import Inputs
from diffutron.reporting.summary import Summary
from diffutron.reporting.tables import SIGNIFICANT, said


@dataclass(frozen=True)
class Tile:
    label: str
    value: str
    context: str


def learned_tasks(summary: Summary, model: str = "phase2") -> tuple[int, int]:
    """(tasks clearly above chance, tasks with a test) of a model."""
    tasks = summary.models[model].tasks.values()
    tested = [task.p_value for task in tasks if task.p_value is not None]
    return sum(p < SIGNIFICANT for p in tested), len(tested)


def tiles(summary: Summary, inputs: Inputs) -> list[Tile]:
    """Five figures: tasks, instructions, words, likelihood, cost."""
    final = summary.models["phase2"]
    learned, tested = learned_tasks(summary)
    tasks = f"{learned} of {tested}" if tested else format.NOT_MEASURED
    asked, words = final.instructions, _percent(final.generation.valid_words)
    found = inputs.measured("models", "phase2", "instructions") or {}
    answers = [f"{asked.correct} of {asked.n} held out"] if asked.n is not None else []
    answers.append(said("best constant {:.1%}", found.get("constant")))
    answers.append(said("bag of words {:.1%}", found.get("bag_of_words")))
    bits = format.decimal(summary.models["merged"].bits_per_byte)
    others = [
        said("backbone {:.3f}", summary.models["base"].bits_per_byte),
        said("bigram {:.3f}", inputs.measured("bigram")),
        said("5-gram {:.3f}", inputs.measured("five_gram")),
    ]
    seconds = [value for value in summary.seconds.values() if value is not None]
    cost = f"{len(seconds)} stages, {summary.device or 'device not recorded'}"
    return [
        Tile("Tasks above chance", tasks, "phase 2, p < 0.001 each"),
        Tile("Instructions, exactly", _percent(asked.acc), ", ".join(filter(None, answers))),
        Tile("Valid Turkish words", words, "of all that phase 2 generated"),
        Tile("Bits per byte, held out", bits, ", ".join(filter(None, others))),
        Tile("Time to build", format.duration(sum(seconds) if seconds else None), cost),
    ]


def headline_figures(summary: Summary, inputs: Inputs) -> dict[str, float | int | None]:
    """`metrics/summary.json`: what a person compares two runs by. Shares are of 1, bits are per
    byte of held-out text; what was not measured is null."""
    final, models = summary.models["phase2"], summary.models
    learned, tested = learned_tasks(summary)
    accuracies = [task.acc for task in final.tasks.values() if task.acc is not None]
    return {
        "tasks_above_chance": learned,
        "tasks_tested": tested,
        "mean_accuracy": sum(accuracies) / len(accuracies) if accuracies else None,
        "instructions_exact": final.instructions.acc,
        "valid_words": final.generation.valid_words,
        **{f"bits_per_byte_{name}": models[name].bits_per_byte for name in MODELS},
        **{f"bits_per_byte_{name}": inputs.measured(name) for name in ("bigram", "five_gram")},
    }


def _percent(value: float | None) -> str:
    text = format.percent(value)
    return text if value is None else f"{text} %"


def verdict(summary: Summary, inputs: Inputs) -> str:
    """What the run shows, in words; only what was measured is said."""
    learned, tested = learned_tasks(summary)
    final = summary.models["phase2"]
    parts = []
    if tested:
        parts.append(f"is clearly above chance on {learned} of {tested} tasks")
    if final.instructions.acc is not None:
        parts.append(f"answers {_percent(final.instructions.acc)} of held-out instructions exactly")
    if final.generation.valid_words is not None:
        parts.append(f"writes {_percent(final.generation.valid_words)} valid words")
    if not parts:
        return "The final model was not measured."
    joined = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"From raw text to a Turkish diffusion model: the final model {joined}.{_gain(inputs)}"


def _gain(inputs: Inputs) -> str:
    difference = inputs.measured("merged_below_base", "difference")
    p_value = inputs.measured("merged_below_base", "p_value")
    if difference is None or p_value is None:
        return ""
    certainty = format.p_value(p_value)
    if difference < 0 and p_value < 0.01:
        gain = f"{-difference:.3f} ({certainty})"
        return f" Diffusion pre-training lowered held-out bits per byte by {gain}."
    return (
        f" That diffusion pre-training lowered held-out bits per byte is not shown ({certainty})."
    )
