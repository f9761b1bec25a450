"""What a stage tells while it works: a table that grows by a line per point, for whoever looks.

The stage knows nothing of MLflow. `operations/live.py` names the table, and
`registry/stage_runs.py` reads it.
"""

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path

LIVE = Path("live")  # of a project: `STAGE.csv`, and `STAGE.json` of the run in MLflow
CURVE = "DIFFUTRON_CURVE"  # the table of the stage at work
BUILD_RUN = "DIFFUTRON_BUILD_RUN"  # the MLflow run of the build that the stage belongs to
COLUMNS = (
    *("step", "loss", "eval_loss", "learning_rate", "grad_norm"),
    *("tokens", "tokens_per_s", "skipped_steps"),
)


def add_point(values: Mapping[str, object]) -> None:
    """Append a point of the curve, in one write; nothing happens where nobody looks."""
    if not (path := os.environ.get(CURVE)):
        return
    line = io.StringIO()
    csv.DictWriter(line, COLUMNS, extrasaction="ignore", lineterminator="\n").writerow(values)
    with Path(path).open("a", encoding="utf-8") as stream:
        stream.write(line.getvalue())


def new_curve(path: Path) -> None:
    """A table without points."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
