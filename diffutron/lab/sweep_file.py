"""The file of a sweep: what is tried, on what budget, and what is measured."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from diffutron.config.params import Stage
from diffutron.config.section import NonNegative, Section
from diffutron.operations.graph import direct_needs, stages_in_order
from diffutron.runtime.errors import UserError
from diffutron.runtime.yaml_files import checked, read_yaml

BASE = "base"
TRAININGS = ("backbone", "pretrain", "instruct_phase1", "instruct_phase2")
Unit = Literal["cpu_seconds", "tokens", "flops"]


class Budget(Section):
    """What the training stages of one arm may spend together; one of the three."""

    cpu_seconds: float | None = Field(default=None, gt=0)
    tokens: float | None = Field(default=None, gt=0)
    flops: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def one(self) -> "Budget":
        if sum(value is not None for value in (self.cpu_seconds, self.tokens, self.flops)) != 1:
            raise ValueError("give one of cpu_seconds, tokens and flops")
        return self

    @property
    def unit(self) -> Unit:
        if self.cpu_seconds is not None:
            return "cpu_seconds"
        return "tokens" if self.tokens is not None else "flops"

    @property
    def amount(self) -> float:
        return getattr(self, self.unit)


class SweepFile(Section):
    """A sweep: each arm changes the profile with `base`, and is compared with it."""

    profile: str
    stages: list[Stage] = Field(min_length=1)
    measure: list[str] = Field(min_length=1)
    budget: Budget | None = None
    seeds: list[NonNegative] = Field(min_length=1)
    base: dict[str, Any] = Field(default_factory=dict)
    arms: dict[str, dict[str, Any] | None] = Field(default_factory=dict)

    @model_validator(mode="after")
    def names(self) -> "SweepFile":
        if BASE in self.arms:
            raise ValueError("arms: `base` always runs; give another arm another name")
        for arm in self.arms:
            if not arm.replace("-", "").replace("_", "").replace(".", "").isalnum():
                raise ValueError(f"arms: {arm!r} must be of letters, digits, -, _ and .")
        if len({*self.seeds}) < len(self.seeds):
            raise ValueError("seeds: each may stand there once")
        return self

    @property
    def overrides(self) -> dict[str, dict[str, Any]]:
        """Arm -> dotted key -> value, with those of `base`; the base first."""
        return {BASE: self.base} | {arm: self.base | (own or {}) for arm, own in self.arms.items()}

    @property
    def trainings(self) -> list[str]:
        return [stage for stage in self.stages if stage in TRAININGS]


def read_sweep(path: Path) -> SweepFile:
    """The sweep of a file, its stages in the order in which they run.

    Raises:
        UserError: a key or a value that has no meaning, or a stage without one that it needs.
    """
    found = checked(read_yaml(path, absent="does not exist"), SweepFile, origin=str(path))
    needs = direct_needs()
    for stage in found.stages:
        if missing := [need for need in needs[stage] if need not in found.stages]:
            raise UserError(
                f"{path}: the stage {stage} reads what {missing[0]} writes; add {missing[0]} to "
                "stages"
            )
    if found.budget is not None and not found.trainings:
        raise UserError(
            f"{path}: budget: none of the stages trains; add one of {', '.join(TRAININGS)}"
        )
    order = [stage for stage in stages_in_order() if stage in found.stages]
    return found.model_copy(update={"stages": order})
