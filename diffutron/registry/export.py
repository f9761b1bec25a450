"""A registered version as a plain folder: what the hub holds and transformers loads."""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from diffutron.registry.mlflow_client import tracking
from diffutron.registry.package import KEPT
from diffutron.registry.promote import NAME, require_version
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import atomic_folder, verify_checksums

MODEL = "artifacts/model"  # where a version keeps the model folder
FILES = KEPT | {".md"}


@dataclass(frozen=True)
class Plan:
    """What a publication would send: each file with its bytes, and the head of its page."""

    files: dict[str, int]
    front_matter: str

    @property
    def bytes(self) -> int:
        return sum(self.files.values())


def export(version: int, to: Path, *, name: str = NAME) -> list[str]:
    """Write the files of a version to `to`, after their checksums were verified; their names.

    Errors: an unknown version, a folder that holds something else, or a damaged file is a
    `UserError`; nothing is written.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UserError(f"{to} is not an empty folder; name a new one with --to")
    with tempfile.TemporaryDirectory(prefix="diffutron-export-") as folder:
        found = fetch(version, Path(folder), name=name)
        with atomic_folder(to) as work:
            for file in found:
                shutil.copyfile(file, work / file.name)
    return [file.name for file in found]


def publication(version: int, *, name: str = NAME) -> Plan:
    """What would go to the hub: the files that `export` writes."""
    with tempfile.TemporaryDirectory(prefix="diffutron-publish-") as folder:
        found = fetch(version, Path(folder), name=name)
        card = (found[0].parent / "README.md").read_text(encoding="utf-8")
        files = {file.name: file.stat().st_size for file in found}
    return Plan(files, card.split("---\n", 2)[1].strip())


def fetch(version: int, folder: Path, *, name: str = NAME) -> list[Path]:
    """Download and verify the model folder of a version; its files, by name."""
    return verified(download(version, folder, name=name), what=f"{name} version {version}")


def download(version: int, folder: Path, *, name: str = NAME) -> Path:
    """The model folder of a version, in a folder below `folder`."""
    from mlflow.artifacts import download_artifacts

    with tracking() as client:
        require_version(client, name, version)
        uri = f"models:/{name}/{version}/{MODEL}"
        return Path(download_artifacts(artifact_uri=uri, dst_path=str(folder)))


def verified(model: Path, *, what: str) -> list[Path]:
    """The files of a model folder, by name, after their checksums were verified.

    Raises:
        UserError: a damaged or missing file, one that is no part of a model, or no checksums.
    """
    if not (model / "checksums.json").exists():
        raise UserError(f"{what} carries no checksums.json; register the model again")
    verify_checksums(model)
    listed = json.loads((model / "checksums.json").read_text(encoding="utf-8"))
    extra = [p.name for p in model.iterdir() if p.name not in {*listed, "checksums.json"}]
    if extra or not {Path(one).suffix for one in listed} <= FILES:
        odd = extra or [one for one in listed if Path(one).suffix not in FILES]
        raise UserError(f"{what} holds {odd[0]}, which is not part of a model")
    return sorted(model.iterdir())
