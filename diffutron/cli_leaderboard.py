"""`diffutron leaderboard`: score systems on the seven tasks, with statistics and canaries."""

from pathlib import Path
from typing import Annotated

import typer

from diffutron.errors import StageFailure

Names = Annotated[str | None, typer.Option(help="Names, separated by commas; by default all.")]
Data = Annotated[
    str | None,
    typer.Option(help="Folder of evaluation rows, `hub` or `sample`; else DIFFUTRON_DATA or hub."),
]
Limit = Annotated[int | None, typer.Option(help="Items of each task, drawn by the seed.")]


def leaderboard(
    systems: Annotated[Path, typer.Option(help="The file of systems.")] = Path(
        "infra/systems.yaml"
    ),
    only: Names = None,
    tasks: Names = None,
    data: Data = None,
    protocol: Annotated[
        str, typer.Option(help="corrected, cetvel, both, or dllm (the public scorer's encoding).")
    ] = "corrected",
    shots: Annotated[int, typer.Option(help="Solved examples before each question, 0 to 5.")] = 0,
    limit: Limit = None,
    out: Annotated[Path, typer.Option(help="Folder of the results; a run resumes there.")] = Path(
        "leaderboard"
    ),
) -> None:
    """Score systems on the seven tasks: intervals, paired tests, canaries; resumes."""
    from diffutron.evaluation.leaderboard import Options
    from diffutron.evaluation.leaderboard import leaderboard as score

    results = score(
        Options(
            out=out,
            systems=systems,
            only=_names(only),
            tasks=_names(tasks),
            data=data,
            protocol=protocol,
            limit=limit,
            shots=shots,
        )
    )
    if results is None:
        return
    from diffutron.evaluation.leaderboard_rows import failed_canaries
    from diffutron.reporting.leaderboard import summary_lines, write_pages

    write_pages(results, out)
    for line in summary_lines(results):
        typer.echo(line)
    typer.echo(f"wrote {out / 'leaderboard.json'}, .md, .html")
    failed = failed_canaries(results)
    if failed:
        raise StageFailure(f"{len(failed)} canaries failed; the first: {failed[0]}")


def _names(given: str | None) -> list[str] | None:
    return None if given is None else [name.strip() for name in given.split(",") if name.strip()]


COMMANDS = (leaderboard,)
