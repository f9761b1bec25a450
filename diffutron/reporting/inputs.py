"""Everything the report reads: files that the stages before it left behind, nothing else."""

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffutron.config.names import MODELS
from diffutron.config.params import STAGES
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import read_json
from diffutron.runtime.json_lines import read_json_lines

EARLIER = STAGES[: STAGES.index("report")]


@dataclass(frozen=True)
class Curve:
    """The losses of a training as (step, loss), where they were measured."""

    train: list[tuple[int, float]] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Inputs:
    """What one run measured: by stage, by model and by answer."""

    metrics: dict[str, dict[str, Any]]
    curves: dict[str, Curve]
    cards: dict[str, dict[str, Any]]
    traces: list[dict[str, Any]]
    answers: dict[str, list[dict[str, Any]]]

    def measured(self, *path: str) -> Any:
        """What `evaluate` measured under a path of keys; None where it did not."""
        found: Any = self.metrics["evaluate"]
        for key in path:
            found = (found or {}).get(key)
        return found


def read_inputs(*, metrics_dir: Path, evaluation: Path, corpus: Path, instructions: Path) -> Inputs:
    """Read the metrics, curves, cards, traces and answers of a run.

    Only the metrics of `evaluate` must be there; the report says "not measured" for the rest.
    """
    metrics = {stage: metrics_dir / f"{stage}.json" for stage in EARLIER}
    curves = {stage: metrics_dir / f"{stage}.csv" for stage in EARLIER}
    answers = {model: evaluation / f"instructions_{model}.jsonl" for model in MODELS}
    again = "run `diffutron evaluate` again"
    return Inputs(
        metrics={
            stage: read_json(path, made_by=stage)
            for stage, path in metrics.items()
            if path.exists() or stage == "evaluate"
        },
        curves={s: read_curve(path, made_by=s) for s, path in curves.items() if path.exists()},
        cards={
            "corpus": _optional(corpus / "card.json", empty={}),
            "instructions": _optional(instructions / "card.json", empty={}),
        },
        traces=_optional(evaluation / "traces.json", empty=[]),
        answers={
            model: [row for _, row in read_json_lines(path, advice=again)]
            for model, path in answers.items()
            if path.exists()
        },
    )


def read_curve(path: Path, *, made_by: str) -> Curve:
    """Read a loss curve; a damaged line is a `UserError` that names it."""
    curve = Curve()
    remedy = f"delete it and run `diffutron {made_by}`"
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream)
        for column in ("step", "loss", "eval_loss"):
            if column not in (rows.fieldnames or []):
                raise UserError(f"{path} has no column `{column}`; {remedy}")
        try:
            for row in rows:
                for points, column in ((curve.train, "loss"), (curve.held_out, "eval_loss")):
                    if row[column] != "":
                        points.append((int(row["step"]), float(row[column])))
        except (TypeError, ValueError) as error:
            raise UserError(f"{path}, line {rows.line_num}: {error}; {remedy}") from None
    return curve


def _optional(path: Path, *, empty: Any) -> Any:
    return read_json(path) if path.exists() else empty
