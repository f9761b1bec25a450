"""One MLflow run for a whole build, with a child run per stage."""

import csv
import os
import socket
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from diffutron.config.params import STAGES, Params, params_digest
from diffutron.registry.evidence import ITEMS, PREFIX
from diffutron.registry.mlflow_client import experiment_id, tracking
from diffutron.runtime import provenance
from diffutron.runtime.files import read_json
from diffutron.runtime.live import BUILD_RUN
from diffutron.runtime.tables import flatten

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

CURVES = ("loss", "learning_rate", "eval_loss")
BATCH = 1000
PARENT, NOTE = "mlflow.parentRunId", "mlflow.note.content"  # tags that MLflow's pages know
PROCESS = "process"  # tag: who ends the run
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


def build_run_id() -> str | None:
    """The run of the build that this process is part of; None under bare `dvc repro`."""
    return os.environ.get(BUILD_RUN) or None


def start_build(params: Params, tags: Mapping[str, str]) -> tuple[str, str]:
    """A run for a build that begins: the ids of its experiment and of itself.

    Runs of builds on this machine whose process is gone end as failed ones.

    Raises:
        UserError: the store does not answer.
    """
    with tracking(make=True) as client:
        experiment = experiment_id(client)
        _end_abandoned(client, experiment)
        own = {**fingerprints(params), **tags, PROCESS: _process(os.getpid())}
        run_id = _new_build(client, experiment, params, own)
        log_params(client, run_id, params.model_dump(mode="json", by_alias=True))
    return experiment, run_id


def end_build(run_id: str, status: str, cause: str = "") -> None:
    """The run ends as FINISHED, FAILED or KILLED, with the cause as its description.

    Raises:
        UserError: the store does not answer.
    """
    with tracking() as client:
        if cause:
            client.set_tag(run_id, NOTE, cause)
        client.set_terminated(run_id, status)


def _process(pid: int) -> str:
    """A process among those of all machines and times."""
    return f"{socket.gethostname()}:{pid}:{psutil.Process(pid).create_time():.0f}"


def _end_abandoned(client: "MlflowClient", experiment: str) -> None:
    for run in client.search_runs([experiment], "attributes.status = 'RUNNING'"):
        host, _, rest = run.data.tags.get(PROCESS, "").partition(":")
        if host != socket.gethostname():
            continue
        pid = int(rest.partition(":")[0])
        with suppress(psutil.NoSuchProcess):
            if _process(pid) == run.data.tags[PROCESS]:
                continue
        client.set_tag(run.info.run_id, NOTE, "ended from outside")
        client.set_terminated(run.info.run_id, "KILLED")


def _new_build(
    client: "MlflowClient",
    experiment: str,
    params: Params,
    tags: Mapping[str, str],
    *,
    started: int | None = None,
) -> str:
    """started: in milliseconds; None is now."""
    name = f"build-{params.profile}-{time.strftime('%Y%m%d-%H%M%S')}"
    tags = {"mlflow.user": psutil.Process().username(), **tags}
    return client.create_run(experiment, started, tags, name).info.run_id


@contextmanager
def parent_run(
    client: "MlflowClient",
    experiment: str,
    params: Params,
    tags: dict[str, str],
    *,
    started: int | None = None,
) -> Iterator[str]:
    """The run for the whole build: that of the flow, which ends it, else a new one, which ends as
    FAILED when the block raises."""
    if run_id := build_run_id():
        for name, value in tags.items():
            client.set_tag(run_id, name, value)
        yield run_id
        return
    run_id = _new_build(client, experiment, params, tags, started=started)
    log_params(client, run_id, params.model_dump(mode="json", by_alias=True))
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
    shown: Collection[str] = (),
    model_id: str | None = None,
) -> None:
    """Numbers, data, files of a build; and one child per stage with its loss curve.

    Args:
        shown: Stages that have such a child, since they showed themselves while they ran.
        model_id: The logged model that the numbers are shown with.
    """
    values = params.model_dump(mode="json", by_alias=True)
    found = [(name, value, 0) for name, value in numbers(summary["models"]).items()]
    log_metrics(client, run_id, found, model_id=model_id)
    _log_datasets(client, run_id)
    client.log_dict(run_id, values, "params.yaml")
    client.log_artifacts(run_id, str(metrics_dir), "metrics")
    client.log_artifacts(run_id, str(report), "report")
    for items in sorted(evaluation.glob(f"{PREFIX}*.jsonl")):
        client.log_artifact(run_id, str(items), ITEMS)
    if provenance.LOCK.exists():
        client.log_artifact(run_id, str(provenance.LOCK))
    for stage in STAGES:
        if stage not in shown and (metrics_dir / f"{stage}.json").exists():
            record = read_json(metrics_dir / f"{stage}.json", made_by=stage)
            ended = int(1000 * time.time())
            child = client.create_run(
                experiment,
                ended - int(1000 * record.get("seconds", 0)),
                {PARENT: run_id, "stage": stage},
                stage,
            ).info.run_id
            log_params(client, child, values.get(stage, {}))  # `merge` has none
            log_metrics(client, child, [(n, value, 0) for n, value in numbers(record).items()])
            log_metrics(client, child, curve(metrics_dir / f"{stage}.csv"))
            client.set_terminated(child, "FINISHED", ended)


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


def log_params(client: "MlflowClient", run_id: str, values: dict[str, Any]) -> None:
    from mlflow.entities import Param

    flat = [Param(key, str(value)) for key, value in flatten(values).items()]
    for start in range(0, len(flat), 100):  # the store's limit for one call
        client.log_batch(run_id, params=flat[start : start + 100])


def log_metrics(
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
