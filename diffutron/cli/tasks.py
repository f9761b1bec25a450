"""`diffutron tasks`: the tasks of the leaderboard, and the check of a task file."""

from pathlib import Path
from typing import Annotated

import typer

from diffutron.cli.examples import epilog
from diffutron.cli.output import only_json
from diffutron.runtime.errors import UserError

TasksDir = Annotated[
    Path | None, typer.Option(help="Folder of task files (*.yaml) of your own; they are added.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object and nothing else.")]
TOKENIZER = Path("data/tokenizer")  # of a project, where its stage has run

app = typer.Typer(invoke_without_command=True)


@app.callback(epilog=epilog("tasks"))
def tasks(
    context: typer.Context,
    tasks_dir: TasksDir = None,
    data: Annotated[
        str | None,
        typer.Option(help="Folder of evaluation rows, `hub` or `sample`; else DIFFUTRON_DATA."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Which tasks are there, how large are they, what does guessing get? `check FILE` tries one.

    docs/leaderboard.md says how to write a task file.
    """
    if context.invoked_subcommand is not None:
        return
    from diffutron.evaluation.leaderboard.tasks import list_tasks
    from diffutron.runtime.tables import markdown_table

    show = only_json(as_json)
    found = list_tasks(tasks_dir, data=data)
    show({"tasks": found})
    rows = [
        [
            one["task"],
            one["kind"],
            one["license"] or "not stated",
            one["rows"],
            "" if one["chance"] is None else f"{100 * one['chance']:.1f}",
            one["from"],
        ]
        for one in found
    ]
    head = ["task", "kind", "license", "rows", "chance, %", "from"]
    typer.echo(markdown_table(head, rows))


@app.command(epilog=epilog("tasks check"))
def check(
    file: Annotated[Path, typer.Argument(help="The task file, or a task's name.", metavar="FILE")],
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Folder of a tokenizer: shows the tokens; by default that of a project."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a task file and its rows as the leaderboard does: three of them, and what is wrong.

    Exit code 0, or 2 with one line that names the file, the row and the key.
    """
    from diffutron.evaluation.leaderboard.tasks import check_task

    show = only_json(as_json)
    if tokenizer is not None and not (tokenizer / "tokenizer.json").is_file():
        raise UserError(f"--tokenizer {tokenizer}: holds no tokenizer.json; give a model's folder")
    if tokenizer is None and (TOKENIZER / "tokenizer.json").is_file():
        tokenizer = TOKENIZER
    found = check_task(file, tokenizer=tokenizer)
    show(found)
    typer.echo(
        f"{found['task']} ({found['kind']}): {found['rows']} rows of {found['origin']}, "
        f"{found['training_rows']} for training, chance {100 * found['chance']:.1f} %"
    )
    for one in found["shown"]:
        typer.echo(f"\nrow {one['row']}: {one['text']!r}")
        for number, choice in enumerate(one["choices"]):
            mark = "*" if number == one["right"] else " "
            tokens = f"   {' | '.join(one['tokens'][number])}" if "tokens" in one else ""
            typer.echo(f"  {mark} {number} {choice!r}{tokens}")
    for note in found["notes"]:
        typer.echo(f"\nnote: {note}")
