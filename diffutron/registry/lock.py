"""One promotion at a time, over all machines that share a registry."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from diffutron.runtime.errors import UserError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

STALE = 120.0  # seconds after which the lock of a command that was killed is taken away


@contextmanager
def promotion_lock(client: "MlflowClient", name: str) -> Iterator[None]:
    """Hold the lock of a registered model, or be told that another command does.

    The name of a registered model is unique in every store that MLflow has, so a model of an
    agreed name is a lock that works on a file, Postgres and a server alike.
    """
    lock = f"{name}.promotion-lock"
    if not (_take(client, lock) or (_drop_stale(client, lock) and _take(client, lock))):
        raise UserError(
            f"another promotion of {name} is under way; nothing moved; look at "
            "`diffutron history` and decide again"
        )
    try:
        yield
    finally:
        client.delete_registered_model(lock)


def _take(client: "MlflowClient", lock: str) -> bool:
    from mlflow.exceptions import MlflowException

    about = "Held while an alias moves; a promotion removes it when it ends."
    try:
        client.create_registered_model(lock, description=about)
    except MlflowException as error:
        # "Does not exist": it was there at the insert and gone when MLflow looked why that failed.
        if error.error_code in ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"):
            return False
        raise
    return True


def _drop_stale(client: "MlflowClient", lock: str) -> bool:
    """Remove the lock if its holder must be dead; True if it is gone."""
    from mlflow.exceptions import MlflowException

    try:
        held = client.get_registered_model(lock)
        if time.time() - (held.creation_timestamp or 0) / 1000 < STALE:
            return False
        client.delete_registered_model(lock)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    return True
