"""The gate: which conditions a model must meet to become a version. Pure: numbers in, words out."""

from collections.abc import Mapping
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


def gate(summary: dict[str, Any], limits: GateParams, *, baselines: Mapping[str, Any]) -> list[str]:
    """The conditions that do not hold, each as a sentence; empty when the model may register."""
    found = conditions(summary, limits, baselines=baselines)
    return [str(condition) for condition in found if not condition.holds]


def conditions(
    summary: dict[str, Any], limits: GateParams, *, baselines: Mapping[str, Any]
) -> list[Condition]:
    """Every condition of the gate. A number that was not measured never meets one, unless the
    limit asks for nothing (0).

    baselines: bits per byte of held-out text by the name of the baseline, as `evaluate` has them.
    """
    final = summary["models"][JUDGED]
    p_values = [task["p_value"] for task in final["tasks"].values() if task["p_value"] is not None]
    learned = sum(p < limits.max_p_value for p in p_values)
    found = [
        _at_least(f"tasks with p < {limits.max_p_value:g}", learned, limits.min_tasks),
        _at_least(
            "instructions answered exactly", final["instructions"]["acc"], limits.min_instructions
        ),
        _at_least("valid words", final["generation"]["valid_words"], limits.min_valid_words),
    ]
    if limits.below_baseline is not None:
        bits: float | None = summary["models"]["merged"]["bits_per_byte"]
        bound: float | None = baselines.get(limits.below_baseline)
        told = "not measured" if bound is None else f"{bound:.4g}"
        found.append(
            Condition(
                "bits per byte of the merged model",
                f"below {limits.below_baseline} ({told})",
                bits,
                bits is not None and bound is not None and bits < bound,
            )
        )
    return found


def _at_least(name: str, found: float | None, least: float) -> Condition:
    holds = least == 0 if found is None else found >= least
    return Condition(name, f"at least {least:g}", found, holds)
