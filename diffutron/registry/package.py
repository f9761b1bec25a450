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

from diffutron.registry.mlflow_client import tracking_uri
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import require_folder, write_json

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.models.model import ModelInfo

SERVE_SECONDS = 300.0
EXAMPLE = "Türkiye'nin başkenti neresidir?"
SERVED = Path(__file__).with_name("served_model.py")
CODE = ("__init__.py", "api.py", "config", "diffusion", "inference", "modeling", "runtime")
"""What generating needs of this package; it travels with the weights."""

KEPT = {".safetensors", ".json", ".jinja", ".txt"}
PICKLED = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}


def stage_model(model: Path, folder: Path, *, card: str) -> dict[str, str]:
    """Copy a model folder for registration, with its card and the checksums of its files.

    Returns {file name: sha256}. Weights in a pickle format are a `UserError`.
    """
    require_folder(model, made_by="instruct_phase2")
    files = sorted(path for path in model.iterdir() if path.is_file())
    if bad := [path for path in files if path.suffix in PICKLED]:
        raise UserError(f"{bad[0]}: weights are registered as safetensors only; remove the file")
    if not any(path.suffix == ".safetensors" for path in files):
        raise UserError(f"{model} holds no safetensors weights; run `diffutron instruct_phase2`")
    folder.mkdir(parents=True)
    kept = [path for path in files if path.suffix in KEPT]
    for path in kept:
        shutil.copyfile(path, folder / path.name)
    (folder / "README.md").write_text(card, encoding="utf-8")
    checksums = {path.name: _sha256(path) for path in [*kept, folder / "README.md"]}
    write_json(folder / "checksums.json", checksums)
    return checksums


def weights_digest(checksums: dict[str, str]) -> str:
    """One sha256 for all weight files: equal for equal weights, whatever the card says."""
    weights = [f"{name}:{sha}" for name, sha in sorted(checksums.items()) if "safetensors" in name]
    return hashlib.sha256("\n".join(weights).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def stage_code(folder: Path) -> Path:
    """Copy the modules that generate into `folder/diffutron`."""
    package = Path(__file__).resolve().parent.parent
    target = folder / "diffutron"
    target.mkdir(parents=True)
    for name in CODE:
        source = package / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target / name)
    return target


def signature() -> "ModelSignature":
    """Strings in, strings out; a parameter without a value comes from the model's settings."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    text = Schema([ColSpec(DataType.string)])
    knobs = ParamSchema(
        [
            ParamSpec("max_new_tokens", DataType.long, None),
            ParamSpec("num_steps", DataType.long, None),
            ParamSpec("block_length", DataType.long, None),
            ParamSpec("temperature", DataType.double, None),
            ParamSpec("seed", DataType.long, 0),
        ]
    )
    return ModelSignature(inputs=text, outputs=text, params=knobs)


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
            name="model",
            artifacts={"model": str(model)},
            pip_requirements=requirements(),
            **served,
        )
    # The type hints of `predict` decide what MLflow hands over; they cannot name its parameters.
    set_signature(logged.model_uri, signature())
    return logged


def ask(model_uri: str, prompt: str = EXAMPLE) -> str:
    """Load a logged model the way a server does, and let it answer: proof before registration."""
    import mlflow

    return mlflow.pyfunc.load_model(model_uri).predict([prompt])[0]


def answers_when_served(model_uri: str, prompt: str = EXAMPLE) -> tuple[str, str | None]:
    """The answer of a version in a fresh process, as MLflow's server loads it; or what went wrong.

    The process runs in an empty folder, so the code that travels with the version answers.
    """
    command = [sys.executable, "-m", "mlflow", "models", "predict", "--env-manager", "local"]
    command += ["--model-uri", model_uri, "--content-type", "json"]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": tracking_uri()}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    with tempfile.TemporaryDirectory(prefix="diffutron-serve-") as folder:
        asked, told = Path(folder) / "asked.json", Path(folder) / "told.json"
        write_json(asked, {"inputs": [prompt]})
        try:
            done = subprocess.run(
                [*command, "--input-path", str(asked), "--output-path", str(told)],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=SERVE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "", f"no answer within {SERVE_SECONDS:.0f} s"
        if done.returncode or not told.exists():
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            return "", lines[-1]
        return json.loads(told.read_text(encoding="utf-8"))["predictions"][0], None
