"""What a registered version was measured on, as its run in MLflow keeps it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffutron.config.params import STAGES, Params
from diffutron.config.stored import parse_stored_params, translate_metrics
from diffutron.evaluation.statistics.pair_tests import Results
from diffutron.registry.promote import require_version
from diffutron.registry.registration_gate import JUDGED
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import read_json
from diffutron.runtime.json_lines import read_json_lines
from diffutron.runtime.yaml_files import read_yaml

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

ITEMS = "items"  # folder of a run: each answered question, by which two versions are compared
PREFIX = f"items_{JUDGED}_"


@dataclass(frozen=True)
class Evidence:
    """A version, with the files that tell what it is and what it can do."""

    name: str
    version: int
    params: Params
    summary: dict[str, Any]
    measured: dict[str, Any]
    answers: Results

    @property
    def set_digests(self) -> dict[str, str | None]:
        """Set -> digest of its rows: items of equal numbers are the same only where it is equal."""
        sets = self.measured.get("evaluate", {}).get("sets", {})
        return {name: found.get("digest") for name, found in sets.items()}

    @property
    def own_sets(self) -> set[str]:
        """The tasks that the builder of the version brought."""
        return own_sets(self.measured)


def own_sets(measured: dict[str, Any]) -> set[str]:
    """The sets of `evaluate.tasks_dir`, by the metrics of each stage."""
    sets = measured.get("evaluate", {}).get("sets", {})
    return {name for name, found in sets.items() if found.get("own")}


def read_evidence(client: "MlflowClient", name: str, version: int) -> Evidence:
    """Fetch the evidence of a version, of this release or an earlier one.

    Raises:
        UserError: an unknown version, or one that `diffutron register` did not make.
    """
    require_version(client, name, version)
    tags = client.get_model_version(name, str(version)).tags
    if "run_id" not in tags:
        raise UserError(
            f"{name} version {version} has no tag run_id: it was not made by `diffutron register`, "
            "so there is no evidence to judge it by"
        )
    with run_files(tags["run_id"], {"params.yaml", "metrics", ITEMS}) as folder:
        correct, groups = {}, {}
        for file in sorted((folder / ITEMS).glob(f"{PREFIX}*.jsonl")):
            task, rows = file.stem.removeprefix(PREFIX), [row for _, row in read_json_lines(file)]
            correct[task] = {row["row"]: row["correct"] for row in rows}
            groups[task] = {row["row"]: row.get("group") or f"row {row['row']}" for row in rows}
        values = read_yaml(folder / "params.yaml", absent="is not among the files of the run")
        return Evidence(
            name=name,
            version=version,
            params=parse_stored_params(values, origin=f"params.yaml of {name} version {version}"),
            summary=read_numbers(folder / "metrics"),
            measured=translate_metrics(read_metrics(folder / "metrics")),
            answers=Results(f"version {version}", correct, groups),
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


def read_numbers(folder: Path) -> dict[str, Any]:
    """All numbers of a run; an earlier release kept them in the file of the headline figures."""
    full = folder / "full.json"
    return read_json(full if full.exists() else folder / "summary.json", made_by="register")


def read_metrics(folder: Path) -> dict[str, Any]:
    """What each stage has measured, by stage; those that are not there are left out."""
    files = {stage: folder / f"{stage}.json" for stage in STAGES}
    return {stage: read_json(path) for stage, path in files.items() if path.exists()}
