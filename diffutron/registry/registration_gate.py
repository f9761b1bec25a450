"""The gate: which conditions a model must meet to become a version. Pure: numbers in, words out."""

from dataclasses import dataclass
from typing import Any

from diffutron.config.params import GateParams

JUDGED = "phase2"


@dataclass(frozen=True)
class Condition:
    """One condition: what is wanted, what was found (None: not measured), whether it holds."""

    name: str
    wanted: str
    found: float | str | None
    holds: bool

    def __str__(self) -> str:
        return f"{self.name}: {self.found_text}, wanted {self.wanted}"

    @property
    def found_text(self) -> str:
        if self.found is None:
            return "not measured"
        return self.found if isinstance(self.found, str) else f"{self.found:.4g}"


def gate(
    summary: dict[str, Any], limits: GateParams, *, unigram_bits_per_byte: float | None
) -> list[str]:
    """The conditions that do not hold, each as a sentence; empty when the model may register."""
    found = conditions(summary, limits, unigram_bits_per_byte=unigram_bits_per_byte)
    return [str(condition) for condition in found if not condition.holds]


def conditions(
    summary: dict[str, Any], limits: GateParams, *, unigram_bits_per_byte: float | None
) -> list[Condition]:
    """Every condition of the gate. A number that was not measured never meets one, unless the
    limit asks for nothing (0)."""
    final = summary["models"][JUDGED]
    p_values = [task["p_value"] for task in final["tasks"].values() if task["p_value"] is not None]
    learned = sum(p < limits.max_p_value for p in p_values)
    base: float | None = summary["models"]["base"]["bits_per_byte"]
    share = base / unigram_bits_per_byte if base is not None and unigram_bits_per_byte else None
    return [
        _at_least(f"tasks with p < {limits.max_p_value:g}", learned, limits.min_tasks),
        _at_least(
            "instructions answered exactly", final["instructions"]["acc"], limits.min_instructions
        ),
        _at_least("valid words", final["generation"]["valid_words"], limits.min_valid_words),
        Condition(
            "bits per byte of the backbone, share of a unigram model",
            f"at most {limits.max_bits_per_byte_of_unigram:g}",
            share,
            share is not None and share <= limits.max_bits_per_byte_of_unigram,
        ),
    ]


def _at_least(name: str, found: float | None, least: float) -> Condition:
    holds = least == 0 if found is None else found >= least
    return Condition(name, f"at least {least:g}", found, holds)
