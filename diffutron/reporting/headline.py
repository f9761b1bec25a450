"""The few figures at the head of the report, and one sentence that says what they come to."""

from dataclasses import dataclass
from typing import Any

from diffutron.reporting import format
from diffutron.reporting.tables import SIGNIFICANT


@dataclass(frozen=True)
class Tile:
    label: str
    value: str
    context: str


def learned_tasks(summary: dict[str, Any], model: str = "phase2") -> tuple[int, int]:
    """(tasks clearly above chance, tasks with a test) of a model."""
    tasks = summary["models"][model]["tasks"].values()
    tested = [task["p_value"] for task in tasks if task["p_value"] is not None]
    return sum(p < SIGNIFICANT for p in tested), len(tested)


def tiles(summary: dict[str, Any], evaluate: dict[str, Any]) -> list[Tile]:
    """Five figures: tasks, instructions, words, likelihood, cost."""
    final = summary["models"]["phase2"]
    learned, tested = learned_tasks(summary)
    asked, words = final["instructions"], final["generation"]["valid_words"]
    seconds = [value for value in summary["seconds"].values() if value is not None]
    return [
        Tile(
            "Tasks above chance",
            f"{learned} of {tested}" if tested else format.NOT_MEASURED,
            "phase 2, p < 0.001 each",
        ),
        Tile(
            "Instructions, exactly",
            _percent(asked["acc"]),
            f"{asked['correct']} of {asked['n']} held out" if asked["n"] is not None else "",
        ),
        Tile("Valid Turkish words", _percent(words), "of all that phase 2 generated"),
        _bits_tile(summary, evaluate),
        Tile(
            "Time to build",
            format.duration(sum(seconds)) if seconds else format.NOT_MEASURED,
            f"{len(seconds)} stages, {summary['device'] or 'device not recorded'}",
        ),
    ]


def _bits_tile(summary: dict[str, Any], evaluate: dict[str, Any]) -> Tile:
    base, merged = (summary["models"][m]["bits_per_byte"] for m in ("base", "merged"))
    unigram = evaluate.get("unigram_bits_per_byte")
    context = [] if base is None else [f"backbone {base:.3f}"]
    context += [] if unigram is None else [f"unigram model {unigram:.2f}"]
    return Tile("Bits a byte, held out", format.decimal(merged), ", ".join(context))


def _percent(value: float | None) -> str:
    text = format.percent(value)
    return text if value is None else f"{text} %"


def verdict(summary: dict[str, Any], evaluate: dict[str, Any]) -> str:
    """What the run shows, in words; only what was measured is said."""
    learned, tested = learned_tasks(summary)
    final = summary["models"]["phase2"]
    acc, words = final["instructions"]["acc"], final["generation"]["valid_words"]
    parts = []
    if tested:
        parts.append(f"is clearly above chance on {learned} of {tested} tasks")
    if acc is not None:
        parts.append(f"answers {_percent(acc)} of held-out instructions exactly")
    if words is not None:
        parts.append(f"writes {_percent(words)} valid words")
    if not parts:
        return "The final model was not measured."
    joined = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"From raw text to a Turkish diffusion model: the final model {joined}.{_gain(evaluate)}"


def _gain(evaluate: dict[str, Any]) -> str:
    test = evaluate.get("merged_below_base") or {}
    difference, p_value = test.get("difference"), test.get("p_value")
    if difference is None or p_value is None:
        return ""
    certainty = format.p_value(p_value)
    if difference < 0 and p_value < 0.01:
        gain = f"{-difference:.3f} ({certainty})"
        return f" Diffusion pre-training lowered held-out bits a byte by {gain}."
    return f" That diffusion pre-training lowered held-out bits a byte is not shown ({certainty})."
