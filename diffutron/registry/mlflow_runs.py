"""One MLflow run for a whole build, with a child run per stage."""

import csv
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffutron.config.params import STAGES, Params, params_digest
from diffutron.registry.evidence import ITEMS, PREFIX
from diffutron.runtime import provenance
from diffutron.runtime.files import read_json
from diffutron.runtime.tables import flatten

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

CURVES = ("loss", "learning_rate", "eval_loss")
BATCH = 1000
DATASETS = ("data/corpus", "data/instructions")


def fingerprints(params: Params) -> dict[str, str]:
    """Code, parameters and data of a build, as tags; "none" where nothing is recorded."""
    code = provenance.code()
    return {
        "git_sha": code.sha or "none",
        "git_dirty": "none" if code.dirty is None else str(code.dirty).lower(),
        "dvc_lock_md5": provenance.lock_digest() or "none",
        "params_sha": params_digest(params),
        "profile": params.profile,
    }


@contextmanager
def parent_run(
    client: "MlflowClient", experiment: str, params: Params, tags: dict[str, str]
) -> Iterator[str]:
    """A run for the whole build; it ends as FAILED when the block raises."""
    name = f"build-{params.profile}-{time.strftime('%Y%m%d-%H%M%S')}"
    run_id = client.create_run(experiment, run_name=name, tags=tags).info.run_id
    try:
        yield run_id
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")


def log_build(
    client: "MlflowClient",
    experiment: str,
    run_id: str,
    params: Params,
    *,
    metrics_dir: Path,
    summary: dict[str, Any],
    report: Path,
    evaluation: Path,
    model_id: str | None = None,
) -> None:
    """Parameters, numbers, data, files of a build; and one child per stage with its loss curve.

    model_id: the logged model that the numbers are shown with.
    """
    values = params.model_dump(mode="json", by_alias=True)
    _log_params(client, run_id, values)
    found = [(name, value, 0) for name, value in numbers(summary["models"]).items()]
    _log_metrics(client, run_id, found, model_id=model_id)
    _log_datasets(client, run_id)
    client.log_dict(run_id, values, "params.yaml")
    client.log_artifacts(run_id, str(metrics_dir), "metrics")
    client.log_artifacts(run_id, str(report), "report")
    for items in sorted(evaluation.glob(f"{PREFIX}*.jsonl")):
        client.log_artifact(run_id, str(items), ITEMS)
    if provenance.LOCK.exists():
        client.log_artifact(run_id, str(provenance.LOCK))
    for stage in STAGES:
        if (metrics_dir / f"{stage}.json").exists():
            child = client.create_run(
                experiment, run_name=stage, tags={"mlflow.parentRunId": run_id, "stage": stage}
            ).info.run_id
            _log_params(client, child, values.get(stage, {}))  # `merge` has none
            measured = numbers(read_json(metrics_dir / f"{stage}.json", made_by=stage))
            _log_metrics(client, child, [(name, value, 0) for name, value in measured.items()])
            _log_metrics(client, child, curve(metrics_dir / f"{stage}.csv"))
            client.set_terminated(child, "FINISHED")


def numbers(values: dict[str, Any]) -> dict[str, float]:
    """Every number of nested mappings under `a/b/c`, the grouping of the MLflow pages."""
    return {
        name: float(value)
        for name, value in flatten(values, separator="/").items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def curve(path: Path) -> list[tuple[str, float, int]]:
    """A loss curve as (metric, value, step); empty when the stage has none."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            (name, float(row[name]), int(row["step"]))
            for row in csv.DictReader(stream)
            for name in CURVES
            if row.get(name)
        ]


def _log_params(client: "MlflowClient", run_id: str, values: dict[str, Any]) -> None:
    from mlflow.entities import Param

    flat = [Param(key, str(value)) for key, value in flatten(values).items()]
    for start in range(0, len(flat), 100):  # the store's limit for one call
        client.log_batch(run_id, params=flat[start : start + 100])


def _log_metrics(
    client: "MlflowClient",
    run_id: str,
    values: list[tuple[str, float, int]],
    *,
    model_id: str | None = None,
) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    batch = [Metric(name, value, now, step, model_id=model_id) for name, value, step in values]
    for start in range(0, len(batch), BATCH):
        client.log_batch(run_id, metrics=batch[start : start + BATCH])


def _log_datasets(client: "MlflowClient", run_id: str) -> None:
    """The data that went into the model, by the hashes of dvc.lock."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    outputs = {p: md5 for made in provenance.stage_outputs().values() for p, md5 in made.items()}
    tag = InputTag("mlflow.data.context", "training")
    inputs = [
        DatasetInput(Dataset(Path(path).name, outputs[path], "dvc", path), [tag])
        for path in DATASETS
        if path in outputs
    ]
    if inputs:
        client.log_inputs(run_id, inputs)
