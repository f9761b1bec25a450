"""`diffutron leaderboard | compare | claims | perplexity`: judge models and claims."""

from pathlib import Path
from typing import Annotated

import typer

from diffutron.cli import complete
from diffutron.cli.complete import SYSTEMS
from diffutron.cli.examples import epilog
from diffutron.cli.output import only_json
from diffutron.cli.tasks import TasksDir
from diffutron.runtime.errors import StageFailure, UserError

FAULTS = 20  # that are printed

Names = Annotated[
    str | None, typer.Option(help="Names, separated by commas; by default the seven and your own.")
]
Systems = Annotated[
    str | None,
    typer.Option(
        help="Names, separated by commas; by default all.", autocompletion=complete.systems
    ),
]
Data = Annotated[
    str | None,
    typer.Option(help="Folder of evaluation rows, `hub` or `sample`; else DIFFUTRON_DATA or hub."),
]
Limit = Annotated[int | None, typer.Option(help="Items of each task, drawn by the seed.")]
Protocol = Annotated[
    str,
    typer.Option(
        help="corrected, cetvel, both, dllm (the public scorer's encoding), or chat (a tuned "
        "model's own format)."
    ),
]
SystemsFile = Annotated[Path, typer.Option("--systems", help="The file of systems.")]


app = typer.Typer(invoke_without_command=True)


@app.callback(epilog=epilog("leaderboard"))
def leaderboard(
    context: typer.Context,
    systems: SystemsFile = SYSTEMS,
    only: Systems = None,
    tasks: Names = None,
    tasks_dir: TasksDir = None,
    data: Data = None,
    protocol: Protocol = "corrected",
    shots: Annotated[int, typer.Option(help="Solved examples before each question, 0 to 5.")] = 0,
    limit: Limit = None,
    out: Annotated[Path, typer.Option(help="Folder of the results; a run resumes there.")] = Path(
        "leaderboard"
    ),
) -> None:
    """Score systems on the seven tasks and your own: intervals, tests, sanity checks; resumes."""
    if context.invoked_subcommand is not None:
        return
    from diffutron.evaluation.leaderboard.leaderboard import Options
    from diffutron.evaluation.leaderboard.leaderboard import leaderboard as score

    results = score(
        Options(
            out=out,
            systems=systems,
            only=_names(only),
            tasks=_names(tasks),
            tasks_dir=tasks_dir,
            data=data,
            protocol=protocol,
            limit=limit,
            shots=shots,
        )
    )
    if results is None:
        return
    from diffutron.evaluation.leaderboard.rows import failed_checks
    from diffutron.reporting.leaderboard_page import summary_lines, write_pages

    write_pages(results, out)
    for line in summary_lines(results):
        typer.echo(line)
    typer.echo(f"wrote {out / 'leaderboard.json'}, .md, .html")
    failed = failed_checks(results)
    if failed:
        raise StageFailure(f"{len(failed)} sanity checks failed; the first: {failed[0]}")


@app.command(epilog=epilog("leaderboard check"))
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a leaderboard.")],
    as_json: Annotated[bool, typer.Option("--json", help="Plain JSON.")] = False,
) -> None:
    """Count every number of a leaderboard again, from the answers that lie in it.

    Exit code 0; 1 where one is another; 2 where a file is missing.
    """
    from diffutron.evaluation.leaderboard.folder import check_folder

    show = only_json(as_json)
    counted, faults = check_folder(folder)
    show({"counted": counted, "faults": faults})
    typer.echo(f"{folder}: {counted} numbers counted again, {len(faults)} are others")
    for fault in faults[:FAULTS]:
        typer.echo(f"- {fault}")
    if faults:
        raise StageFailure(f"{folder}: {faults[0]}")


@app.command(epilog=epilog("leaderboard merge"))
def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR DIR", help="Two or more folders.")],
    out: Annotated[Path, typer.Option(help="Folder of the joint table.")] = Path(
        "leaderboard-merged"
    ),
) -> None:
    """One table of several, whose systems answered the same items; each is checked first."""
    from diffutron.evaluation.leaderboard.folder import merge_folders
    from diffutron.reporting.leaderboard_page import summary_lines, write_pages

    if len(folders) < 2:
        raise UserError("leaderboard merge: give two folders or more")
    results = merge_folders(folders, out)
    write_pages(results, out)
    for line in summary_lines(results):
        typer.echo(line)
    typer.echo(f"wrote {out / 'leaderboard.json'}, .md, .html")


def _names(given: str | None) -> list[str] | None:
    """The names between commas; None, which stands for all, where there is none."""
    return [name.strip() for name in (given or "").split(",") if name.strip()] or None


def compare(
    a: Annotated[str, typer.Argument(help="A run FOLDER[:NAME], a model folder, or models:/N@A.")],
    b: Annotated[str, typer.Argument(help="What to compare it with.")],
    tasks: Names = None,
    tasks_dir: TasksDir = None,
    data: Data = None,
    protocol: Protocol = "corrected",
    limit: Limit = None,
    systems: SystemsFile = SYSTEMS,
    out: Annotated[Path, typer.Option(help="Where models are scored; resumes there.")] = Path(
        "leaderboard"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Plain JSON.")] = False,
) -> None:
    """Is A better than B? Two runs, two models, or two registered versions, on the same items."""
    from diffutron.evaluation.leaderboard.compare import (
        compare_runs,
        is_run,
        read_run,
        score_models,
        system_name,
    )
    from diffutron.reporting.leaderboard_page import print_pairs

    if protocol == "both":
        raise UserError("--protocol both: a comparison is made in one protocol")
    fresh = [place for place in (a, b) if not is_run(place)]
    folders = {place: _model_folder(place) for place in fresh}
    if fresh:
        score_models(
            folders,
            systems=systems,
            tasks=_names(tasks),
            tasks_dir=tasks_dir,
            data=data,
            protocol=protocol,
            limit=limit,
            out=out,
        )
    results = [
        read_run(f"{out}:{system_name(place)}" if place in folders else place, protocol=protocol)
        for place in (a, b)
    ]
    print_pairs(compare_runs(*results, protocol=protocol), as_json=as_json)


def _model_folder(place: str) -> Path:
    """A checkpoint folder, fetched from the registry where `place` is models:/NAME@ALIAS."""
    if place.startswith("models:/"):
        from diffutron.inference.loading import registered_folder

        try:
            return registered_folder(place)
        except ValueError as error:
            raise UserError(str(error)) from error
    if not Path(place).is_dir():
        raise UserError(
            f"{place} is neither a run with answers nor a model folder; give the folder of "
            "`diffutron leaderboard --out`, of the stage `evaluate`, or of a model"
        )
    return Path(place)


def claims(
    file: Annotated[Path, typer.Option(help="The claims.")] = Path("docs/claims.yaml"),
) -> None:
    """Check the published numbers that can be checked; fails where a status is contradicted."""
    from diffutron.paper.claims import check_claims, claim_lines, read_claims

    found = check_claims(read_claims(file))
    for line in claim_lines(found):
        typer.echo(line)
    faults = [one for one in found if one.fault]
    if faults:
        raise StageFailure(
            f"{len(faults)} claims are contradicted; the first: {faults[0].claim.id}: "
            f"{faults[0].fault}"
        )


def perplexity(
    model: Annotated[list[Path], typer.Option(help="Model folder; may be given many times.")],
    text: Annotated[
        Path | None, typer.Option(help="JSONL file with a field `text`; else the built-in essays.")
    ] = None,
    documents: Annotated[int, typer.Option(min=1, help="Texts, drawn by the seed.")] = 20,
    samples: Annotated[int, typer.Option(min=2, help="Rows of the NELBO of a window.")] = 16,
    seed: Annotated[int, typer.Option(help="The same seed draws the same masks.")] = 0,
    out: Annotated[Path | None, typer.Option(help="JSON file to write as well.")] = None,
) -> None:
    """Every number that "perplexity" may mean, of the same text in one table."""
    from diffutron.paper.perplexity_candidates import candidates, read_texts
    from diffutron.reporting.tables import candidate_lines

    texts = read_texts(text, documents=documents, seed=seed)
    found = {str(one): candidates(one, texts, samples=samples, seed=seed) for one in model}
    for line in candidate_lines(found):
        typer.echo(line)
    if out is not None:
        from diffutron.runtime.files import write_json

        write_json(out, found)


COMMANDS = (compare, claims, perplexity)
