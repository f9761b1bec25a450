"""Exported versions are plain folders, whole, and hold nothing but a model."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from diffutron.registry import export as exporting
from diffutron.registry.export import export, publication
from diffutron.runtime.errors import UserError

pytestmark = pytest.mark.slow


@pytest.mark.slow
def test_transformers_alone_loads_it(versions, tmp_path):
    files = export(2, tmp_path / "out")
    assert {"README.md", "model.safetensors", "config.json", "checksums.json"} <= {*files}
    code = (
        "import sys; from transformers import AutoModelForMaskedLM, AutoTokenizer;"
        "AutoModelForMaskedLM.from_pretrained('out'); AutoTokenizer.from_pretrained('out');"
        "assert 'diffutron' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert "model-index:" in Path("out/README.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("versions")
def test_what_would_be_published():
    plan = publication(1)
    assert plan.bytes == sum(plan.files.values()) > 10_000
    assert "license: apache-2.0" in plan.front_matter


def test_a_folder_in_use_is_left_alone(versions, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    for target in (tmp_path / "full", tmp_path / "mlflow.db"):
        with pytest.raises(UserError, match="is not an empty folder"):
            export(1, target)
    with pytest.raises(UserError, match="no version 8"):
        export(8, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.fixture
def downloaded(versions, monkeypatch, tmp_path):
    """What the registry gives out, to be tampered with."""
    kept = tmp_path / "kept"
    export(1, kept)

    def give(*, artifact_uri, dst_path):
        return shutil.copytree(kept, Path(dst_path) / "model")

    monkeypatch.setattr("mlflow.artifacts.download_artifacts", give)
    return kept


def list_file(folder: Path, name: str, content: bytes) -> None:
    """Add a file and its checksum, as somebody with access to the store could."""
    listed = json.loads((folder / "checksums.json").read_text())
    (folder / name).write_bytes(content)
    listed[name] = hashlib.sha256(content).hexdigest()
    (folder / "checksums.json").write_text(json.dumps(listed))


def test_damaged_or_foreign_files_are_refused(downloaded, tmp_path):
    assert exporting.export(1, tmp_path / "whole")
    config = downloaded / "config.json"
    before = config.read_bytes()
    config.write_bytes(before + b" ")
    with pytest.raises(UserError, match=r"config.json is damaged: its sha256"):
        export(1, tmp_path / "new")
    config.write_bytes(before)
    (downloaded / "extra.txt").write_text("x")
    with pytest.raises(UserError, match=r"holds extra.txt, which is not part of a model"):
        export(1, tmp_path / "new")
    (downloaded / "extra.txt").unlink()
    list_file(downloaded, "run.py", b"print(1)")
    with pytest.raises(UserError, match=r"holds run.py"):
        export(1, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_names_do_not_lead_out_of_the_folder(downloaded, tmp_path):
    listed = {"../../stolen.txt": "00"}
    (downloaded / "checksums.json").write_text(json.dumps(listed))
    with pytest.raises(UserError, match=r"names '../../stolen.txt', which is outside"):
        export(1, tmp_path / "new")
    (downloaded / "checksums.json").unlink()
    with pytest.raises(UserError, match=r"carries no checksums.json"):
        export(1, tmp_path / "new")
