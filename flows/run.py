"""`python -m flows.run --profile demo`: the flow `build` from the shell, then what came out of it.

It runs on the server of PREFECT_API_URL, or else on a temporary one that Prefect starts itself.
"""

import argparse
import os
import signal
import sys
from typing import get_args

from rich.console import Console

from diffutron.operations.up import settings
from diffutron.runtime.errors import UserError
from flows.results import show_results

SHORT_LINES = {
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s | %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": (
        "%(asctime)s | %(task_run_name)s | %(message)s"
    ),
}


def main() -> int:
    # Before Prefect is imported: it reads the environment once.
    os.environ.update({**SHORT_LINES, **settings()})
    from flows.pipeline import Profile, Stage, build

    arguments = parse(sys.argv[1:], profiles=get_args(Profile), stages=get_args(Stage))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        check_server()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        state = build(**vars(arguments), return_state=True)
    except KeyboardInterrupt:
        print("stopped; the next run goes on from here", file=sys.stderr)
        return 130
    if not state.is_completed():
        print(f"error: {state.message}", file=sys.stderr)
        return 1
    if arguments.last in ("report", "register"):
        show_results(Console())
    return 0


def check_server() -> None:
    """Raise UserError where the server that Prefect is set to does not answer or refuses us."""
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.settings import get_current_settings

    if not (url := get_current_settings().api.url):
        return  # Prefect starts a temporary one
    with get_client(sync_client=True) as client:
        try:
            client.api_version()
        except httpx.HTTPStatusError as error:
            raise UserError(
                f"Prefect at {url} answers {error.response.status_code}; set "
                "PREFECT_API_AUTH_STRING=USER:PASSWORD to what the server asks for"
            ) from error
        except httpx.TransportError as error:
            raise UserError(
                f"Prefect at {url}: no answer; start the server (`diffutron up`) or unset "
                "PREFECT_API_URL to use a temporary one"
            ) from error


def parse(
    arguments: list[str], *, profiles: tuple[str, ...], stages: tuple[str, ...]
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flows.run", description=__doc__)
    parser.add_argument("--profile", default="current", choices=profiles, help="settings to use")
    parser.add_argument("--first", default=stages[0], choices=stages, metavar="STAGE")
    parser.add_argument("--last", default=stages[-1], choices=stages, metavar="STAGE")
    parser.add_argument("-S", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--force", action="store_true", help="replace a params.yaml made by hand")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
