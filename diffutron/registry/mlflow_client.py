"""Where MLflow keeps runs and versions, and its errors in one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from diffutron.runtime.errors import UserError
from diffutron.runtime.mlflow_errors import (
    DATABASE,
    FILE,
    reach,
    store_cause,
    store_errors,
    without_password,
)
from diffutron.runtime.moved_project import ARTIFACTS

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT = "diffutron"
SWITCHES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Silence, no hub (a registered model is complete), and a dead server found out in seconds."""


def tracking_uri() -> str:
    """The store that the environment names, else a database file in the working folder."""
    if named := os.environ.get("MLFLOW_TRACKING_URI"):
        return named
    place = f"{Path(DATABASE).resolve()}"
    for mark, code in (("%", "%25"), ("?", "%3F")):  # they mean something else in an address
        place = place.replace(mark, code)
    return f"{FILE}{place}"


@contextmanager
def tracking(*, make: bool = False) -> Iterator["MlflowClient"]:
    """A client of the configured store; what MLflow refuses becomes a `UserError`.

    make: make the database file where there is none; otherwise that is a `UserError` too.
    """
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
    import mlflow
    from mlflow.exceptions import MlflowException

    uri = tracking_uri()
    try:
        reach(uri, make=make)
        mlflow.set_tracking_uri(uri)
        yield mlflow.MlflowClient()
    except (MlflowException, *store_errors()) as error:
        raise UserError(f"MLflow at {without_password(uri)}: {store_cause(error)}") from error


def experiment_id(client: "MlflowClient", name: str = EXPERIMENT) -> str:
    """The experiment of all runs; made at first use.

    Without a server the artifact root is stored as a path in the database: it is fixed here, so
    that it does not depend on the folder that a later command runs in.
    """
    found = client.get_experiment_by_name(name)
    direct = not tracking_uri().startswith(("http://", "https://"))
    if found is None:
        root = Path(ARTIFACTS).resolve().as_uri() if direct else None
        return client.create_experiment(name, artifact_location=root)
    if found.lifecycle_stage == "deleted":
        raise UserError(f"MLflow experiment {name} is deleted; restore it (mlflow experiments)")
    if direct and found.artifact_location.startswith("mlflow-artifacts:"):
        raise UserError(
            f"MLflow experiment {name} keeps its files behind a server; start it and set "
            "MLFLOW_TRACKING_URI to its address"
        )
    return found.experiment_id
