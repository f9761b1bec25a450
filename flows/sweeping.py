"""The flow `sweep`: changes to a recipe at equal compute; the tables are an artifact."""

import sys
from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from flows.pipeline import training_slot
from flows.stage import CommandFailed, report_failure, run_shown


@flow(name="sweep")
def sweep(
    file: str = "infra/sweeps/demo.yaml", workers: Annotated[int, Field(ge=1)] = 1, out: str = ""
) -> State:
    """Try changes to a recipe at equal compute; a sweep that was stopped goes on where it was.

    Args:
        file: The file of the sweep on the machine that runs this (docs/recipes.md).
        workers: Arms at a time; the processors are divided among them.
        out: The folder of the results; empty for sweeps/ and the name of the file.
    """
    folder = Path(out) if out else Path("sweeps") / Path(file).stem
    command = [sys.executable, "-m", "diffutron", "sweep", file]
    command += ["--workers", str(workers), "--out", str(folder)]
    with training_slot():
        try:
            run_shown(command, name="sweep", line="sweep", unit="runs")
        except CommandFailed as failure:
            return report_failure("sweep", failure)
    publish(folder)
    return Completed(message=f"the results are in {folder}")


def publish(folder: Path) -> None:
    """Put the tables into the artifacts of the run, and a link to the page with the curves."""
    from diffutron.lab.page import HEADER, noise_words, table_rows
    from diffutron.runtime.files import read_json
    from diffutron.runtime.tables import markdown_table

    found = read_json(folder / "sweep.json")
    parts = [
        f"## {name}\n\n{markdown_table(HEADER, table_rows(found, name))}\n\n"
        f"{noise_words(found, name)}"
        for name in found["pooled_sd"]
    ]
    create_markdown_artifact(
        key="sweep", markdown="\n\n".join(parts), description=f"the best arm is {found['best']}"
    )
    page = (folder / "sweep.html").resolve()
    create_link_artifact(
        key="sweep-page", link=page.as_uri(), link_text=str(page), description="with curves"
    )
