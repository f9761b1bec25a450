"""`diffutron tune`: a model of one's own, from rows of one's own."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from diffutron.cli.model import ChatFormat, Model, user_errors
from diffutron.cli.output import only_json
from diffutron.cli.stages import Override
from diffutron.runtime.errors import StageFailure

Method = Annotated[
    Literal["full", "lora"] | None,
    typer.Option(help="All weights or an adapter; by default what fits the memory."),
]
Language = Annotated[
    list[str] | None,
    typer.Option(help="Keep only rows in this language, e.g. tr; may be given many times."),
]


def tune(
    model: Model,
    data: Annotated[
        Path, typer.Option(help="File or folder of rows: JSONL, JSON, CSV, TSV or parquet.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the tuned model; must be new.")],
    method: Method = None,
    language: Language = None,
    chat_format: ChatFormat = None,
    override: Override = None,
    register: Annotated[
        bool, typer.Option("--register", help="Put it through the gate of this project.")
    ] = False,
    only_plan: Annotated[
        bool, typer.Option("--plan", help="Say what it would cost, and stop.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one JSON object; all else goes to stderr.")
    ] = False,
) -> None:
    """Tune a model on your own rows, and see what it answers before and after.

    A row is {"instruction", "input", "output"}, {"Input", "Output"} or {"messages": [...]}. Some
    rows are held out, and both models answer them. A call that was stopped goes on when it is
    repeated. Settings follow from the size of the model and of the data; -S sets any of them
    (diffutron/tuning/settings.yaml).
    """
    from rich.console import Console

    from diffutron.tuning.page import print_outcome
    from diffutron.tuning.register import project_params, register_tuned
    from diffutron.tuning.tune import Request
    from diffutron.tuning.tune import tune as run

    project = project_params() if register else None
    print_json = only_json(as_json)
    request = Request(
        model,
        data,
        out,
        method=method,
        chat_format=chat_format,
        languages=tuple(language or ()),
        overrides=tuple(override or ()),
        project=project,
    )
    with user_errors():
        outcome = run(request, told=_tell, only_plan=only_plan)
    if not only_plan and not as_json:
        print_outcome(Console(), outcome.values, outcome.samples)
    values = outcome.values
    if project is not None and not only_plan:
        values["registered"] = register_tuned(out, values, project)
    print_json(values)
    registered = values.get("registered", {})
    if registered.get("failed"):
        raise StageFailure(f"the gate refuses the model: {'; '.join(registered['failed'])}")


def _tell(line: str) -> None:
    print(f"tune: {line}", flush=True)


def tune_rank(work: Annotated[Path, typer.Argument(help="Folder of a tuning.")]) -> None:
    """One rank of a tuning; `diffutron tune` starts it."""
    from diffutron.tuning.tune import train_rank

    train_rank(work)
