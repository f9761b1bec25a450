"""A sweep in MLflow: one run, and a child of it per arm and seed."""

import time
from collections.abc import Callable
from typing import Any

from diffutron.registry.mlflow_client import experiment_id, tracking
from diffutron.runtime.errors import UserError

COST = ("cpu_seconds", "tokens", "flops", "peak_bytes")


def log_sweep(
    name: str, results: dict[str, Any], *, before: dict[str, Any], told: Callable[[str], None]
) -> None:
    """Log what a sweep has found; `results` gets the id of its run.

    A sweep that found nothing new keeps its run. A store that is away costs the pages of MLflow,
    not the sweep.
    """
    results["run_id"] = before.get("run_id")
    if before.get("runs") == results["runs"]:
        return
    try:
        with tracking(make=True) as client:
            experiment = experiment_id(client)
            tags = {"sweep": name, "best": results["best"]}
            parent = client.create_run(experiment, run_name=f"sweep-{name}", tags=tags).info.run_id
            client.log_dict(parent, results["sweep"], "sweep.json")
            for run in results["runs"]:
                title = f"{run['arm']}, seed {run['seed']}"
                own = {"mlflow.parentRunId": parent, "sweep": name, "arm": run["arm"]}
                child = client.create_run(experiment, run_name=title, tags=own).info.run_id
                for key, value in results["arms"][run["arm"]]["overrides"].items():
                    client.log_param(child, key, value)
                client.log_param(child, "seed", run["seed"])
                for key, value in {**run["measures"], **{k: run[k] for k in COST}}.items():
                    client.log_metric(child, key.replace(".", "/"), value)
                _log_curves(client, child, run["curves"])
                client.set_terminated(child, "FINISHED")
            client.set_terminated(parent, "FINISHED")
            results["run_id"] = parent
    except UserError as error:
        told(f"not in MLflow: {error}")


def _log_curves(client: Any, run_id: str, curves: dict[str, list[dict[str, float]]]) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    for stage, points in curves.items():
        batch = [
            Metric(f"{stage}/eval_loss", one["eval_loss"], now, int(one["tokens"]))
            for one in points
        ]
        client.log_batch(run_id, metrics=batch)
