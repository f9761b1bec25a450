"""A registered version on disk: weights with checksums, a card, and the code that generates."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffutron.config.names import CALIBRATION
from diffutron.registry.mlflow_client import tracking_uri
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import file_digest, require_folder, write_json

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.models.model import ModelInfo

SERVE_SECONDS = 300.0
EXAMPLE = "Türkiye'nin başkenti neresidir?"
SERVED = Path(__file__).with_name("served_model.py")
SMOKE_TEST = Path(__file__).with_name("smoke_test.py")
PACKAGE = Path(__file__).resolve().parent.parent

KEPT = {".safetensors", ".json", ".jinja", ".txt"}
PICKLED = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}


def stage_model(
    model: Path, folder: Path, *, card: str, calibration: Path | None = None
) -> dict[str, str]:
    """Copy a model folder for registration, with its card and the checksums of its files.

    calibration: the file with the temperatures of its decisions.

    Returns {file name: sha256}. Weights in a pickle format are a `UserError`.
    """
    require_folder(model, made_by="instruct_phase2")
    files = sorted(path for path in model.iterdir() if path.is_file())
    if bad := [path for path in files if path.suffix in PICKLED]:
        raise UserError(f"{bad[0]}: weights are registered as safetensors only; remove the file")
    if not any(path.suffix == ".safetensors" for path in files):
        raise UserError(f"{model} holds no safetensors weights; run `diffutron instruct_phase2`")
    folder.mkdir(parents=True)
    kept = [path for path in files if path.suffix in KEPT and path.name != CALIBRATION]
    kept += [calibration] if calibration else []
    for path in kept:
        shutil.copyfile(path, folder / path.name)
    (folder / "README.md").write_text(card, encoding="utf-8")
    checksums = {path.name: file_digest(path) for path in [*kept, folder / "README.md"]}
    write_json(folder / "checksums.json", checksums)
    return checksums


def weights_digest(checksums: dict[str, str]) -> str:
    """One sha256 for all weight files: equal for equal weights, whatever the card says."""
    weights = [f"{name}:{sha}" for name, sha in sorted(checksums.items()) if "safetensors" in name]
    return hashlib.sha256("\n".join(weights).encode()).hexdigest()


def stage_code(folder: Path) -> Path:
    """Copy this package, whole, into `folder/diffutron`.

    A list of the modules that generating needs would have to be kept by hand, and one that is
    missing shows only where no other copy of the package is installed. The whole package is below
    2 MB, and a version then also carries the code that judged it.
    """
    return shutil.copytree(
        PACKAGE, folder / "diffutron", ignore=shutil.ignore_patterns("__pycache__")
    )


def signature() -> "ModelSignature":
    """Strings in, strings out; a parameter without a value comes from the model's settings."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    text = Schema([ColSpec(DataType.string)])
    knobs = [
        ParamSpec(name, DataType.long, None)
        for name in ("max_new_tokens", "num_steps", "block_length")
    ]
    knobs += [ParamSpec("temperature", DataType.double, None), ParamSpec("seed", DataType.long, 0)]
    return ModelSignature(inputs=text, outputs=text, params=ParamSchema(knobs))


def requirements() -> list[str]:
    """What the version needs, pinned to what made it (the build of torch is the host's matter)."""
    from packaging.requirements import Requirement

    needed = [Requirement(line) for line in requires("diffutron") or []]
    names = [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    return [f"{name}=={version(name).partition('+')[0]}" for name in sorted({*names, "mlflow"})]


def log_package(run_id: str, *, model: Path, code: Path) -> "ModelInfo":
    """Log the staged folders as a pyfunc model of a run."""
    import mlflow
    from mlflow.models import set_signature

    served: dict[str, Any] = {"python_model": str(SERVED), "code_paths": [str(code)]}
    with mlflow.start_run(run_id=run_id):
        logged = mlflow.pyfunc.log_model(
            name="model", artifacts={"model": str(model)}, pip_requirements=requirements(), **served
        )
    # The type hints of `predict` decide what MLflow hands over; they cannot name its parameters.
    set_signature(logged.model_uri, signature())
    return logged


def smoke_test(model_uri: str, prompt: str = EXAMPLE) -> str:
    """The answer of a logged version that runs on the code it carries, and on no other copy.

    The version is loaded as MLflow's server loads it, in a process of its own that starts in an
    empty folder; there it answers a prompt and scores a pair (registry/smoke_test.py).

    Raises:
        UserError: it cannot be loaded, or gives no answer; the message is the last line it wrote.
    """
    environment = {**os.environ, "MLFLOW_TRACKING_URI": tracking_uri()}
    environment.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory(prefix="diffutron-smoke-") as folder:
        answer = Path(folder) / "answer.json"
        try:
            done = subprocess.run(
                [sys.executable, "-P", str(SMOKE_TEST), model_uri, prompt, str(answer)],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=SERVE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UserError(f"{model_uri}: no answer within {SERVE_SECONDS:.0f} s") from None
        if done.returncode or not answer.exists():
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise UserError(f"{model_uri} does not run on the code it carries: {lines[-1]}")
        return json.loads(answer.read_text(encoding="utf-8"))["answer"]
