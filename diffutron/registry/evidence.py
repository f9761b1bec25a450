"""What a registered version was measured on, as its run in MLflow keeps it."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffutron.config.params import Params, load_params
from diffutron.registry.comparison import Answers
from diffutron.registry.mlflow_runs import ITEMS, read_metrics
from diffutron.registry.promote import require_version
from diffutron.registry.registration_gate import JUDGED
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import read_json

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

MODEL = "artifacts/model"  # where a version keeps the model folder
PREFIX = f"items_{JUDGED}_"


@dataclass(frozen=True)
class Evidence:
    """A version, with the files that tell what it is and what it can do."""

    name: str
    version: int
    params: Params
    summary: dict[str, Any]
    measured: dict[str, Any]
    answers: Answers
    card: str
    licenses: dict[str, str]
    tags: dict[str, str]

    @property
    def set_digests(self) -> dict[str, str | None]:
        """Set -> digest of its rows: items of equal numbers are the same only where it is equal."""
        sets = self.measured.get("evaluate", {}).get("sets", {})
        return {name: found.get("digest") for name, found in sets.items()}


def read_evidence(client: "MlflowClient", name: str, version: int) -> Evidence:
    """Fetch the evidence of a version.

    Errors: an unknown version, or one that `diffutron register` did not make, is a `UserError`.
    """
    require_version(client, name, version)
    tags = client.get_model_version(name, str(version)).tags
    if "run_id" not in tags:
        raise UserError(
            f"{name} version {version} has no tag run_id: it was not made by `diffutron register`, "
            "so there is no evidence to judge it by"
        )
    with run_files(tags["run_id"], {"params.yaml", "metrics", ITEMS}) as folder:
        return Evidence(
            name=name,
            version=version,
            params=load_params(folder / "params.yaml"),
            summary=read_json(folder / "metrics/summary.json", made_by="register"),
            measured=read_metrics(folder / "metrics"),
            answers=_answers(folder / ITEMS),
            card=_card(name, version),
            licenses=json.loads(tags.get("licenses", "{}")),
            tags=dict(tags),
        )


@contextmanager
def run_files(run_id: str, wanted: set[str]) -> Iterator[Path]:
    """The wanted artifacts of a run that are there, in a folder that is removed afterwards."""
    from mlflow.artifacts import download_artifacts, list_artifacts

    with tempfile.TemporaryDirectory(prefix="diffutron-evidence-") as folder:
        there = {found.path for found in list_artifacts(run_id=run_id)}
        for path in sorted(there & wanted):
            download_artifacts(run_id=run_id, artifact_path=path, dst_path=folder)
        yield Path(folder)


def _answers(folder: Path) -> Answers:
    """Set -> {row: answered right}; empty for a version of before items were kept."""
    found: dict[str, dict[int, bool]] = {}
    for file in sorted(folder.glob(f"{PREFIX}*.jsonl")):
        rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
        found[file.stem.removeprefix(PREFIX)] = {row["row"]: row["correct"] for row in rows}
    return found


def _card(name: str, version: int) -> str:
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory(prefix="diffutron-card-") as folder:
        uri = f"models:/{name}/{version}/{MODEL}/README.md"
        return Path(download_artifacts(artifact_uri=uri, dst_path=folder)).read_text("utf-8")
