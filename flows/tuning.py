"""The flow `tune`: a model learns rows of one's own; the table before and after is an artifact."""

import json
import sys
from pathlib import Path
from typing import Literal

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.pipeline import training_slot
from flows.stage import CommandFailed, report_failure, run_shown


@flow(name="tune")
def tune(
    model: str = "models:/diffutron@champion",
    data: str = "docs/examples/requests.jsonl",
    out: str = "tuned/my-model",
    method: Literal["by size", "full", "lora"] = "by size",
    language: str = "",
    register_model: bool = False,
    settings: list[str] | None = None,
) -> State:
    """Tune a model on rows of your own, and compare its answers before and after.

    Args:
        model: A folder, a name of the hub (OWNER/NAME or OWNER/NAME@REVISION), or a version of the
            registry (models:/NAME@ALIAS).
        data: A file or a folder of rows on the machine that runs this (JSONL, JSON, CSV, TSV,
            parquet).
        out: The folder of the tuned model on that machine; it must be new.
        method: All weights or an adapter; "by size" takes all weights where the memory holds them.
        language: Keep only rows in this language, for example tr; empty keeps all rows.
        register_model: Put the tuned model through the gate of this project.
        settings: Other settings, one an entry, for example training.epochs=5.
    """
    command = [sys.executable, "-m", "diffutron", "tune"]
    command += ["--model", model, "--data", data, "--out", out]
    command += [] if method == "by size" else ["--method", method]
    command += ["--language", language] if language else []
    command += ["--register"] if register_model else []
    command += [part for setting in settings or [] for part in ("-S", setting)]
    with training_slot():
        try:
            run_shown(command, name="tune", line=f"tune-{Path(out).name}", unit="steps")
        except CommandFailed as failure:
            publish(Path(out))
            return report_failure("tune", failure)
    publish(Path(out))
    return Completed(message=f"the model is in {out}")


def publish(out: Path) -> None:
    """Put the card of the tuned model, with the table, into the artifacts of the run."""
    numbers, page = out / "tune.json", out / "README.md"
    if not page.exists() or not numbers.exists():
        return
    found = json.loads(numbers.read_text(encoding="utf-8"))
    share = [f"{100 * found[side]['exact']:.1f} %" for side in ("before", "after")]
    create_markdown_artifact(
        key="tune",
        markdown=page.read_text(encoding="utf-8").split("---\n", 2)[-1],
        description=f"exact answers: {share[0]} before, {share[1]} after",
    )
