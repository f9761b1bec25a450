"""Stage `register`: log the build to MLflow; a version, the `challenger`, if the gate holds."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffutron.config.names import CALIBRATION
from diffutron.config.params import Params
from diffutron.registry.evidence import read_metrics
from diffutron.registry.history import REGISTERED_AT
from diffutron.registry.mlflow_client import experiment_id, tracking
from diffutron.registry.mlflow_runs import NOTE, fingerprints, log_build, parent_run
from diffutron.registry.model_card import description, license_names, model_card
from diffutron.registry.package import (
    log_package,
    smoke_test,
    stage_code,
    stage_model,
    weights_digest,
)
from diffutron.registry.promote import CHALLENGER
from diffutron.registry.registration_gate import gate
from diffutron.registry.stage_runs import adopt, shown_runs
from diffutron.runtime.files import read_json, require_folder, write_json

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


def register(
    params: Params,
    *,
    model: Path,
    report: Path,
    metrics_dir: Path,
    full: Path,
    evaluation: Path,
    out: Path,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Log the build; register `model` when the gate holds; say which in `out`.

    A gate that does not hold is a result, not an error: the run is logged without a version.
    `tags` come on top of those that say what the model was made from.

    Raises:
        UserError: missing inputs, weights that are not safetensors, a packaged model that does not
            answer, or an MLflow store that does not.
    """
    numbers = read_json(full, made_by="report")
    measured = read_json(metrics_dir / "evaluate.json", made_by="evaluate")
    require_folder(report, made_by="report")
    require_folder(model, made_by="instruct_phase2")
    require_folder(evaluation, made_by="evaluate")
    made_from, stages = {**fingerprints(params), **(tags or {})}, read_metrics(metrics_dir)
    card = model_card(params, numbers, stages, tags=made_from)
    failed = gate(numbers, params.register_.gate, baselines=measured)
    with tracking(make=True) as client:
        experiment = experiment_id(client)
        shown = shown_runs(client, metrics_dir)
        started = min((run.info.start_time for run in shown.values()), default=None)
        with parent_run(client, experiment, params, made_from, started=started) as run_id:
            adopt(client, shown, parent=run_id)
            # First, since MLflow asks for each number of a run when it logs a model into it.
            logged = (
                None
                if failed
                else _log_model(run_id, model=model, card=card, evaluation=evaluation)
            )
            log_build(
                client,
                experiment,
                run_id,
                params,
                metrics_dir=metrics_dir,
                summary=numbers,
                report=report,
                evaluation=evaluation,
                shown=shown,
                model_id=logged.model_id if logged else None,
            )
            result: dict[str, Any] = {"registered": False, "failed": failed, "run_id": run_id}
            if logged:
                made_from["licenses"] = json.dumps(license_names(params, stages))
                named = {"tags": made_from, "about": description(params, numbers)}
                result = _register(client, logged, params.register_.name, **named)
            client.set_tag(run_id, NOTE, told := _told(result))
    write_json(out, {**result, "experiment_id": experiment})
    print(told, flush=True)


def _told(result: Mapping[str, Any]) -> str:
    """What became of the model, in a line."""
    if not result["registered"]:
        return f"not registered, the gate does not hold: {'; '.join(result['failed'])}"
    return f"registered {result['name']} version {result['version']} as {CHALLENGER}"


@dataclass(frozen=True)
class Logged:
    """A packaged model in a run, and what it answered when it was loaded from there."""

    run_id: str
    model_id: str
    digest: str
    answer: str


def _log_model(run_id: str, *, model: Path, card: str, evaluation: Path) -> Logged:
    """Package the model, calibrated, and let it answer once on the code that travels with it."""
    with tempfile.TemporaryDirectory(prefix="diffutron-register-") as folder:
        staged = Path(folder) / "model"
        calibration = evaluation / CALIBRATION
        checksums = stage_model(
            model, staged, card=card, calibration=calibration if calibration.is_file() else None
        )
        logged = log_package(run_id, model=staged, code=stage_code(Path(folder) / "code"))
    return Logged(run_id, logged.model_id, weights_digest(checksums), smoke_test(logged.model_uri))


def _register(
    client: "MlflowClient", logged: Logged, name: str, *, tags: dict[str, str], about: str
) -> dict[str, Any]:
    """Make a version of the logged model, and point the alias at it."""
    import mlflow

    made = {
        "weights_sha256": logged.digest,
        "run_id": logged.run_id,
        REGISTERED_AT: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    version = mlflow.register_model(f"models:/{logged.model_id}", name, tags={**tags, **made})
    client.update_model_version(name, version.version, description=about)
    client.set_registered_model_alias(name, CHALLENGER, version.version)
    return {
        "registered": True,
        "name": name,
        "version": int(version.version),
        "alias": CHALLENGER,
        "run_id": logged.run_id,
        "model_id": logged.model_id,
        "weights_sha256": logged.digest,
        "answer": logged.answer,
    }
