"""Where a model comes from: a folder, a hub name, a version of the MLflow registry; and what is
refused."""

import os
from pathlib import Path

from diffutron.inference.language_model import Device, Dtype, LanguageModel, load_language_model
from diffutron.modeling.tokenizer import chat_template
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import verify_checksums
from diffutron.runtime.mlflow_errors import reach, store_cause, store_errors

PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


def load(
    path: str | Path, *, device: Device = None, dtype: Dtype = None, chat_format: str | None = None
) -> LanguageModel:
    """A model to generate and score with: `.model`, `.tokenizer`, `.device`, `.info`.

    path: a checkpoint folder (ours or a published `ModernBertForMaskedLM`), an adapter folder, a
    hub name (OWNER/NAME or OWNER/NAME@REVISION), or `models:/NAME@ALIAS` of the MLflow registry.
    device: the GPU if there is one. dtype: float32, or "bfloat16", which suits a GPU.
    chat_format: "compact" or "published" in place of the model's own format. Checksums that the
    folder carries are verified, and weights are read from safetensors alone. Raises ValueError
    naming `path`.
    """
    where = str(path)
    if where.startswith("models:/"):
        where = str(registered_folder(where))
    if Path(where).is_dir():
        check_files(where)
    lm = load_language_model(where, device=device, dtype=dtype)
    if chat_format is not None:
        lm.tokenizer.chat_template = chat_template(chat_format)
    return lm


def registered_folder(uri: str) -> Path:
    """The checkpoint folder of `models:/NAME@ALIAS`, fetched from the registry; ValueError."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        reach(os.environ.get("MLFLOW_TRACKING_URI", ""))
        folder = Path(download_artifacts(artifact_uri=uri))
    except (MlflowException, UserError, *store_errors()) as error:
        raise ValueError(
            f"path={uri!r}: not read from the registry: {store_cause(error)}"
        ) from error
    found = sorted(config.parent for config in folder.rglob("config.json"))
    if len(found) != 1:
        raise ValueError(f"path={uri!r}: the version holds {len(found)} checkpoints, need one")
    return found[0]


def check_files(where: str) -> None:
    """Refuse damaged files, and weights that only unpickling could read."""
    try:
        verify_checksums(Path(where))
    except UserError as error:
        raise ValueError(f"path={where!r}: {error}") from error
    pickled = sorted(file.name for ending in PICKLED for file in Path(where).glob(f"*{ending}"))
    if pickled and not any(Path(where).glob("*.safetensors")):
        raise ValueError(
            f"path={where!r}: {pickled[0]} holds pickled weights, which may run code when they "
            "are read; convert them to safetensors where they come from"
        )
