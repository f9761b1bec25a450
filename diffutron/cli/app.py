"""The `diffutron` command."""

import os
import re
import sys
from importlib.metadata import requires
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import diffutron
from diffutron.cli import (
    build,
    chat,
    complete,
    leaderboard,
    model,
    project,
    registry,
    serve,
    stages,
    sweep,
    tasks,
    trim,
    tune,
)
from diffutron.cli.examples import epilog
from diffutron.cli.stages import PARAMS, Override, ParamsFile
from diffutron.config.params import STAGES, load_params, parse_params
from diffutron.config.renamed import refuse_old_variables
from diffutron.runtime.errors import StageFailure, UserError
from diffutron.runtime.files import explain_os_error
from diffutron.runtime.project import require_project, require_writable
from diffutron.runtime.proxies import spare_loopback

MOST_NAMED = 5  # changed settings of params.yaml that are named one by one

app = typer.Typer(
    name="diffutron",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"diffutron {diffutron.__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Make, judge and run masked diffusion language models, Turkish first. Numbers come from
    params.yaml (`diffutron params`); paths are options, as in dvc.yaml.
    """


app.command(epilog=epilog("build"))(build.build)
for _stage in STAGES:
    app.command(name=_stage, rich_help_panel="Stages (in order)", epilog=epilog(_stage))(
        stages.shown(getattr(stages, _stage))
    )


@app.command(epilog=epilog("params"))
def params(
    profile: Annotated[
        str,
        typer.Option(
            help="demo, small, paper (infra/profiles), or current: the file itself.",
            autocompletion=complete.profiles,
        ),
    ],
    override: Override = None,
    out: Annotated[Path, typer.Option(help="The file to write.")] = PARAMS,
    keep_changes: Annotated[
        bool, typer.Option("--keep-changes", help="Refuse to replace changes made by hand.")
    ] = False,
) -> None:
    """Compose a profile with overrides, check it, write params.yaml."""
    from diffutron.operations.profiles import write_params

    written = write_params(profile, override or [], path=out, keep_changes=keep_changes)
    if written.aside:
        typer.echo(f"{out} had changes made by hand; they are kept in {written.aside}")
    changed = written.changed or ["nothing changed"]
    if len(changed) > MOST_NAMED:
        changed = [f"{len(changed)} settings changed"]
    typer.echo(f"{out} holds profile {profile}: {', '.join(changed)}")


@app.command(epilog=epilog("plan"))
def plan(
    profile: Annotated[
        str | None,
        typer.Option(
            help="A profile to plan; without it, params.yaml as it is.",
            autocompletion=complete.profiles,
        ),
    ] = None,
    override: Override = None,
    ranks: Annotated[int | None, typer.Option(min=1, help="Ranks of a training stage.")] = None,
    gpu_tflops: Annotated[
        float | None, typer.Option(min=1.0, help="Plan for GPUs of this bf16 speed instead.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Plain JSON.")] = False,
    params: ParamsFile = PARAMS,
) -> None:
    """What each stage will cost: tokens, arithmetic, memory, hours, disk. Runs nothing."""
    from diffutron.operations.profiles import compose
    from diffutron.planning.plan import plan as planned
    from diffutron.planning.plan import this_machine
    from diffutron.planning.table import print_plan

    if profile is None:
        values = load_params(params)
    else:
        values = parse_params(compose(profile, override or []), origin=f"profile {profile}")
    machine = this_machine(ranks=ranks, gpu_tflops=gpu_tflops)
    print_plan(planned(values, machine=machine), as_json=as_json)


@app.command(epilog=epilog("up"))
def up(
    prefect_port: Annotated[int, typer.Option(min=1, max=65535, help="Prefect's port.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="MLflow's port.")] = 5000,
    serve_port: Annotated[int, typer.Option(min=1, max=65535, help="The champion's port.")] = 8400,
) -> None:
    """Start Prefect, MLflow, the deployments and the champion on 127.0.0.1; Ctrl-C stops them."""
    require_project("up", "dvc.yaml", "flows")
    require_writable("up")
    from diffutron.operations.up import up as start

    start(prefect_port=prefect_port, mlflow_port=mlflow_port, serve_port=serve_port)


for _panel, _commands in {
    "Use a model": (
        model.generate,
        model.infill,
        model.decide,
        model.score,
        chat.chat,
        serve.serve,
        tune.tune,
        trim.trim,
    ),  # fmt: skip
    "Judge models": leaderboard.COMMANDS,
    "Try recipes": (sweep.sweep,),
    "Registry": registry.COMMANDS,
    "Upkeep": project.COMMANDS,
}.items():
    for _command in _commands:
        app.command(rich_help_panel=_panel, epilog=epilog(_command.__name__))(_command)


for _name, _group in {"leaderboard": leaderboard.app, "tasks": tasks.app}.items():
    app.add_typer(_group, name=_name, rich_help_panel="Judge models")

for _command in (tune.tune_rank, sweep.measure_text):  # what other commands start
    app.command(hidden=True)(_command)


def _fail(message: str, code: int = 2) -> NoReturn:
    """One line on standard error, whatever line breaks the message came with."""
    print("error: " + " ".join(message.split()), file=sys.stderr, flush=True)
    raise SystemExit(code)


def _extra_with(module: str) -> str | None:
    """The extra of this package that brings a module, by the names of the distributions."""
    wanted = module.partition(".")[0].replace("_", "-").lower()
    for line in requires("diffutron") or []:
        needed, _, marker = line.partition("extra == ")
        if marker and re.match(r"[\w-]+", needed).group() == wanted:  # type: ignore[union-attr]
            return marker.strip("'\" ")
    return None


def main() -> None:
    """Entry point: user mistakes end with one line and exit code 2, never with a traceback."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its report of missing weights
    if "OMP_WAIT_POLICY" not in os.environ:  # threads that wait leave the core to others soon
        os.environ.setdefault("GOMP_SPINCOUNT", "300")
    if "DVC_STAGE" in os.environ:  # a dvc that is killed must not leave its stage at work
        from diffutron.operations.guard import end_with_dvc

        end_with_dvc()
    try:
        refuse_old_variables(os.environ)
        spare_loopback(os.environ)
        app()
    except UserError as error:
        _fail(str(error))
    except StageFailure as error:
        _fail(str(error), code=1)
    except ModuleNotFoundError as error:
        extra = _extra_with(error.name or "")
        if extra is None:
            raise
        _fail(f"{error.name} is not installed; install it with: pip install 'diffutron[{extra}]'")
    except OSError as error:
        # Of a copy the second name is what is written.
        written = error.filename2 or error.filename or "output"
        explained = explain_os_error(error, Path(written))
        if explained is None:
            raise
        _fail(str(explained))
