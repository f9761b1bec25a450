"""`diffutron build`: the flow `build` from the shell, then what came out of it."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from diffutron.cli.stages import PARAMS, Override
from diffutron.config.params import Stage
from diffutron.runtime.errors import StageFailure
from diffutron.runtime.project import require_project, require_writable

SHORT_LINES = {
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s | %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": (
        "%(asctime)s | %(task_run_name)s | %(message)s"
    ),
}


def build(
    profile: Annotated[
        str, typer.Option(help="demo, small, paper (infra/profiles), or current: params.yaml.")
    ] = "current",
    override: Override = None,
    first: Annotated[
        Stage, typer.Option(metavar="STAGE", help="The stage to begin with.")
    ] = "tokenizer",
    last: Annotated[
        Stage, typer.Option(metavar="STAGE", help="The stage to end with.")
    ] = "register",
    force: Annotated[
        bool, typer.Option("--force", help="Replace a params.yaml made by hand; it is kept aside.")
    ] = False,
) -> None:
    """Bring every stage up to date, from raw text to a registered model.

    What is up to date is skipped. The flow runs on the server of PREFECT_API_URL, or on a
    temporary one. Exit code 0 means registered, or up to date; 1 means refused by the gate, or
    that a stage failed; 2 means a mistake in what was asked for.
    """
    require_project("build", "dvc.yaml", "flows")
    require_writable("build")
    from diffutron.operations.profiles import new_params
    from diffutron.operations.up import settings

    overrides = override or []
    new_params(profile, overrides, path=PARAMS, keep_changes=not force)
    # Before Prefect is imported: it reads the environment once.
    os.environ.update({**SHORT_LINES, **settings()})
    sys.path.insert(0, str(Path.cwd()))  # an installed package leaves the flows in the clone
    from rich.console import Console

    from diffutron.operations.graph import stages_between
    from flows.pipeline import NOT_REGISTERED, check_server
    from flows.pipeline import build as flow
    from flows.results import show_results

    stages_between(first, last)
    check_server()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        state = flow(
            profile, first=first, last=last, overrides=overrides, force=force, return_state=True
        )
    except KeyboardInterrupt:
        print("stopped; the next run goes on from here", file=sys.stderr)
        raise SystemExit(130) from None
    done = state.is_completed()
    if last in ("report", "register") and (done or state.name == NOT_REGISTERED):
        show_results(Console(), registered=last == "register")
    if not done:
        raise StageFailure(str(state.message))
