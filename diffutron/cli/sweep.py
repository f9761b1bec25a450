"""`diffutron sweep`: changes to a recipe at equal compute, with a test over seeds."""

from pathlib import Path
from typing import Annotated

import typer

from diffutron.cli.output import only_json
from diffutron.cli.stages import PARAMS, Corpus, Out, ParamsFile
from diffutron.config.params import load_params
from diffutron.runtime.project import require_project


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="What is tried.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; by default sweeps/ and its name.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Arms at a time; the processors are divided among them.")
    ] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one JSON object; all else goes to stderr.")
    ] = False,
) -> None:
    """Try changes to a recipe at equal compute: which arm is better, worse, or cannot be told?

    The profile with `base` alone always runs too, and each arm is compared with it over the same
    seeds. What was run is kept: a sweep that was stopped goes on, and a second call runs nothing.
    The format of the file is in docs/recipes.md.
    """
    require_project("sweep", "dvc.yaml", "infra/profiles")
    from rich.console import Console

    from diffutron.lab.page import table
    from diffutron.lab.sweep import sweep as run

    print_json = only_json(as_json)
    folder = out or Path("sweeps") / file.stem
    found = run(file, out=folder, workers=workers, told=_tell)
    print_json(found)
    if as_json:
        return
    console = Console()
    for measure in found["pooled_sd"]:
        console.print(table(found, measure))
    console.print(f"wrote {folder / 'sweep.json'}, sweep.html", highlight=False)


def _tell(line: str) -> None:
    print(f"sweep: {line}", flush=True)


def measure_text(
    model: Annotated[Path, typer.Option(help="Model folder.")],
    corpus: Corpus,
    kinds: Annotated[str, typer.Option(help="heldout, perplexity_text, or both by a comma.")],
    out: Out,
    params: ParamsFile = PARAMS,
) -> None:
    """Measure the last model of an arm on text; `diffutron sweep` calls it."""
    from diffutron.lab.measuring import measure_text as measure

    measure(load_params(params), model=model, corpus=corpus, kinds=kinds.split(","), out=out)
