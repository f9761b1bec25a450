"""Looking after a project on the command line: why a stage will run, whether
all is there for it, what was measured, and what may be removed."""

import json
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from diffutron.cli import complete
from diffutron.cli.stages import PARAMS, ParamsFile
from diffutron.config.params import load_params
from diffutron.runtime.errors import UserError


def why(
    stage: Annotated[
        str, typer.Argument(help="A stage of dvc.yaml.", autocompletion=complete.stages)
    ],
) -> None:
    """Say what has changed since a stage last ran, before it runs again."""
    from diffutron.operations.why import why as explain

    typer.echo(explain(stage))


def clean(
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
) -> None:
    """Free disk: old checkpoints, half-written outputs, unused cache. Says how much first."""
    from diffutron.operations.clean import find_waste, remove

    found = find_waste()
    if not found:
        typer.echo("nothing to remove")
        return
    sizes: Counter[str] = Counter()
    for one in found:
        sizes[one.why] += one.bytes
    for reason, size in sizes.most_common():
        number = sum(one.why == reason for one in found)
        typer.echo(f"{_megabytes(size)}  {number} x {reason}")
    total = sum(sizes.values())
    typer.echo(f"{_megabytes(total)}  in all")
    if not yes and not sys.stdin.isatty():
        raise UserError("nothing was removed: add --yes to remove without a question")
    if yes or typer.confirm("Remove?"):
        typer.echo(f"freed {_megabytes(remove(found)).strip()}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:10.1f} MB"


def metrics(
    prefix: Annotated[str, typer.Argument(help="Only names that begin so.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Plain JSON: name -> value.")] = False,
    metrics_dir: Annotated[Path, typer.Option(help="Folder of metrics.")] = Path("metrics"),
) -> None:
    """The numbers of the last run, one a line, under the names that other commands take.

    A name is the stage and the keys of its file. Names that begin with heldout, perplexity_text,
    tasks, answers (held-out instructions) or generation are of the last model: phase 2, else
    phase 1, else merged, else base.
    """
    from diffutron.operations.metrics import metrics as measured
    from diffutron.operations.metrics import named

    found = named(measured(metrics_dir), prefix)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        typer.echo(f"{name} {value}")


def check(
    as_json: Annotated[bool, typer.Option("--json", help="Plain JSON.")] = False,
    params: ParamsFile = PARAMS,
) -> None:
    """Look whether all that params.yaml names is there. Fetches little, changes nothing."""
    from diffutron.operations.check import check as look

    started = time.monotonic()
    found = look(load_params(params))
    faults = [one for one in found if not one.ok]
    if as_json:
        values = {"ok": not faults, "seconds": round(time.monotonic() - started, 1)}
        typer.echo(json.dumps(values | {"checks": [asdict(one) for one in found]}, indent=2))
    else:
        for one in found:
            if one.ok:
                typer.echo(f"ok     {one.name}: {one.text}")
    for one in faults:
        print(f"error: {one.name}: {one.text}", file=sys.stderr)
    if faults:
        raise typer.Exit(2)


COMMANDS = (why, clean, check, metrics)
