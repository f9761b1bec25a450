"""An MLflow store in a folder, whatever the environment says."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

STORE = "mlflow.db"


@contextmanager
def new_store(folder: Path) -> Iterator[Any]:
    """The client of a new store, which lies in `folder` as `STORE`."""
    from diffutron.registry.mlflow_client import tracking

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with tracking(make=True) as client:
            yield client
