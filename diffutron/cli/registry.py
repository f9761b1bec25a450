"""The registry on the command line: judge, promote, roll back, look back, export, rebuild."""

import getpass
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from diffutron.cli import complete
from diffutron.cli.stages import PARAMS
from diffutron.config.params import load_params
from diffutron.runtime.errors import UserError

if TYPE_CHECKING:
    from diffutron.registry.promotion_gate import Verdict

Version = Annotated[
    str,
    typer.Argument(
        metavar="VERSION",
        help="Number or alias of a registered version.",
        autocompletion=complete.versions,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Plain JSON.")]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        help="A task may lie so much below the champion; by default promote.max_drop of "
        "params.yaml.",
    ),
]
Use = Annotated[
    Literal["research", "commercial"], typer.Option(help="The use that the licenses must allow.")
]
By = Annotated[str, typer.Option(help="Who decides.")]


def gate(
    version: Version, as_json: AsJson = False, max_drop: MaxDrop = None, use: Use = "research"
) -> None:
    """Compare a version with the champion, on the same items; exit code 1 if it does not hold."""
    from diffutron.registry.promotion_gate import judge

    found = judge(_number(version), **project(), max_drop=max_drop, use=use)
    if as_json:
        typer.echo(json.dumps(found.as_json(), ensure_ascii=False, indent=2))
    else:
        _print_verdict(found)
    if not found.holds:
        raise SystemExit(1)


def promote(
    version: Version,
    by: By,
    reason: Annotated[str, typer.Option(help="Why.")],
    expected_champion: Annotated[
        str | None,
        typer.Option(
            help="Only if this version is the champion now (0: if there is none); by default the "
            "one that the gate compares with."
        ),
    ] = None,
    max_drop: MaxDrop = None,
    use: Use = "research",
    override_gate: Annotated[
        bool, typer.Option("--override-gate", help="Even if the gate fails; it stays on record.")
    ] = False,
) -> None:
    """Make a version that passes the gate the `champion`; who, why, when and the evidence stay."""
    from diffutron.registry.promote import promote as move
    from diffutron.registry.promotion_gate import judge

    expected = expected_champion
    if expected is not None and not expected.isdecimal():
        raise UserError(
            f"--expected-champion {expected}: give the number of a version, or 0 for none"
        )
    number = _number(version)
    try:  # the serving test, half a minute, is left to `gate`
        found = judge(number, **project(), max_drop=max_drop, use=use, serve=False)
        evidence, compared_with = found.as_evidence(), found.champion or 0
    except UserError as error:
        evidence, compared_with = {"holds": False, "failed": [f"not judged: {error}"]}, None
    decision = move(
        number,
        by=by,
        reason=reason,
        name=project()["name"],
        expected_champion=compared_with if expected is None else int(expected),
        evidence=evidence,
        override_gate=override_gate,
    )
    typer.echo(f"champion: version {decision.version} (before: {decision.previous or 'none'})")
    if decision.override_gate:
        failed = "; ".join(decision.evidence["failed"])
        typer.echo(f"note: promoted although the gate does not hold: {failed}")


def rollback(
    to: Annotated[
        str | None, typer.Option(help="The version to go back to; by default the one before.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who decides; by default the user here.")] = None,
    reason: Annotated[str, typer.Option(help="Why.")] = "rollback",
) -> None:
    """Put an earlier champion back."""
    from diffutron.registry.promote import rollback as move

    number = None if to is None else _number(to)
    decision = move(number, by=by or getpass.getuser(), reason=reason, name=project()["name"])
    typer.echo(f"champion: version {decision.version} (before: {decision.previous})")


def history(as_json: AsJson = False) -> None:
    """Every move of the aliases; marks those that were made by hand in the MLflow UI."""
    from diffutron.registry.history import history as moves

    found = moves(project()["name"])
    if as_json:
        typer.echo(json.dumps([asdict(move) for move in found], ensure_ascii=False, indent=2))
    else:
        typer.echo("\n".join(map(str, found)) or "no alias has moved yet")


def export(
    version: Version, to: Annotated[Path, typer.Option(help="A new or empty folder.")]
) -> None:
    """Write a version as a plain Hugging Face folder, checksums verified."""
    from diffutron.registry.export import export as write

    number = _number(version)
    files = write(number, to, name=project()["name"])
    typer.echo(f"wrote {len(files)} files of version {number} to {to}")


def publish(
    version: Version,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would go to the hub.")
    ] = False,
) -> None:
    """Show what would go to the hub; the upload itself is left to the hub's own client."""
    from diffutron.registry.export import publication

    if not dry_run:
        raise UserError(
            f"add --dry-run to see what would be sent; to send it: `diffutron export {version} "
            "--to FOLDER`, then `hf upload OWNER/NAME FOLDER`"
        )
    plan = publication(_number(version), name=project()["name"])
    for file, size in plan.files.items():
        typer.echo(f"{size:>12,}  {file}".replace(",", " "))
    typer.echo(f"{plan.bytes:>12,}  in {len(plan.files)} files".replace(",", " "))
    typer.echo(f"\nhead of the page:\n{plan.front_matter}")


def reproduce(
    version: Version,
    check: Annotated[
        bool, typer.Option("--check", help="Run the pipeline again and compare its numbers.")
    ] = False,
    to: Annotated[
        Path | None, typer.Option(help="Keep the clone here; by default it is temporary.")
    ] = None,
) -> None:
    """Check out code, parameters and data of a version; with --check, rebuild and compare."""
    from diffutron.operations.reproduce import reproduce as rebuild

    if not check and to is None:
        raise UserError("give --check to rebuild and compare, or --to FOLDER for the clone alone")
    if not rebuild(_number(version), name=project()["name"], check=check, to=to):
        raise SystemExit(1)


def project() -> dict[str, Any]:
    """The registered model of the project in this folder, and the bounds of a promotion.

    Without a `params.yaml` the name is the usual one, and a version is judged by its own bounds.
    """
    from diffutron.registry.promote import NAME

    if not PARAMS.exists():
        return {"name": NAME, "limits": None}
    params = load_params(PARAMS)
    return {"name": params.register_.name, "limits": params.promote}


def _number(version: str) -> int:
    from diffutron.registry.mlflow_client import tracking
    from diffutron.registry.promote import resolve

    with tracking() as client:
        return resolve(client, project()["name"], version)


def _print_verdict(found: "Verdict") -> None:
    from rich.console import Console
    from rich.table import Table

    against = f"champion {found.champion}" if found.champion else "no champion: nothing to compare"
    table = Table(title=f"Version {found.version}, {against}")
    for column in ("", "condition", "found", "wanted"):
        table.add_column(column, overflow="fold")
    for one in found.conditions:
        table.add_row("holds" if one.holds else "FAILS", one.name, one.found_text, one.wanted)
    Console(width=None).print(table)
    failing = sum(not one.holds for one in found.conditions)
    typer.echo("the gate holds" if found.holds else f"the gate does not hold: {failing} conditions")


COMMANDS = (gate, promote, rollback, history, export, publish, reproduce)
