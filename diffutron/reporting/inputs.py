"""Everything the report reads: files that the stages before it left behind, nothing else."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffutron.config.params import STAGES
from diffutron.paper.published import MODELS
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import read_json

EARLIER = STAGES[: STAGES.index("report")]

CURVE_COLUMNS = ("step", "loss", "learning_rate", "eval_loss")


@dataclass(frozen=True)
class Point:
    """One row of a loss curve; a value that was not measured at this step is None."""

    step: int
    loss: float | None
    learning_rate: float | None
    eval_loss: float | None


@dataclass(frozen=True)
class Inputs:
    """What one run measured: by stage, by model and by answer."""

    metrics: dict[str, dict[str, Any]]
    curves: dict[str, list[Point]]
    cards: dict[str, dict[str, Any]]
    traces: list[dict[str, Any]]
    answers: dict[str, list[dict[str, Any]]]

    @property
    def evaluate(self) -> dict[str, Any]:
        return self.metrics["evaluate"]


def read_inputs(*, metrics_dir: Path, evaluation: Path, corpus: Path, instructions: Path) -> Inputs:
    """Read the metrics, curves, cards, traces and answers of a run.

    Only the metrics of `evaluate` must be there; the report says "not measured" for the rest.
    """
    metrics = {"evaluate": read_json(metrics_dir / "evaluate.json", made_by="evaluate")}
    found = [stage for stage in EARLIER[:-1] if (metrics_dir / f"{stage}.json").exists()]
    metrics |= {stage: read_json(metrics_dir / f"{stage}.json", made_by=stage) for stage in found}
    curves = {s: metrics_dir / f"{s}.csv" for s in EARLIER if (metrics_dir / f"{s}.csv").exists()}
    answers = {model: evaluation / f"instructions_{model}.jsonl" for model in MODELS}
    return Inputs(
        metrics={stage: metrics[stage] for stage in EARLIER if stage in metrics},
        curves={stage: read_curve(path, made_by=stage) for stage, path in curves.items()},
        cards={"corpus": _card(corpus), "instructions": _card(instructions)},
        traces=_optional(evaluation / "traces.json", empty=[]),
        answers={m: read_rows(path) for m, path in answers.items() if path.exists()},
    )


def read_curve(path: Path, *, made_by: str) -> list[Point]:
    """Read a loss curve; a damaged line is a `UserError` that names it."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream)
        if missing := [c for c in CURVE_COLUMNS if c not in (rows.fieldnames or [])]:
            raise UserError(
                f"{path} has no column `{missing[0]}`; delete it and run `diffutron {made_by}`"
            )
        try:
            return [_point(row) for row in rows]
        except (TypeError, ValueError) as error:
            raise UserError(
                f"{path}, line {rows.line_num}: {error}; delete it and run `diffutron {made_by}`"
            ) from None


def _point(row: dict[str, str]) -> Point:
    loss, rate, held_out = (None if row[c] == "" else float(row[c]) for c in CURVE_COLUMNS[1:])
    return Point(step=int(row["step"]), loss=loss, learning_rate=rate, eval_loss=held_out)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines; a damaged line is a `UserError` that names it."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise UserError(
                f"{path}, line {number} is not JSON ({error}); run `diffutron evaluate` again"
            ) from None
    return rows


def _card(folder: Path) -> dict[str, Any]:
    return _optional(folder / "card.json", empty={})


def _optional(path: Path, *, empty: Any) -> Any:
    return read_json(path) if path.exists() else empty
