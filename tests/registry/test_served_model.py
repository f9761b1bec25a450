"""The code that answers inside a registered version, called as MLflow calls it."""

import json
import shutil
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from mlflow.exceptions import MlflowException
from mlflow.models.cli import commands

import diffutron
from diffutron.registry.export import verified
from diffutron.registry.mlflow_client import tracking
from diffutron.registry.package import stage_model
from diffutron.registry.served_model import ServedModel


@pytest.fixture(scope="module")
def version(tiny_model_dir, tmp_path_factory):
    """A staged model folder."""
    folder = tmp_path_factory.mktemp("staged") / "model"
    stage_model(tiny_model_dir, folder, card="# card\n")
    return folder


def test_a_version_carries_the_temperatures_of_its_build(tiny_model_dir, tmp_path):
    """Those of the model that it was tuned from are another model's."""
    model = shutil.copytree(tiny_model_dir, tmp_path / "model")
    for place, temperature in ((model, 9.0), (tmp_path, 1.5)):
        kinds = {"kinds": {"choice": {"temperature": temperature}}}
        (place / "calibration.json").write_text(json.dumps(kinds), encoding="utf-8")
    for name, calibration in (("with", tmp_path / "calibration.json"), ("without", None)):
        names = stage_model(model, tmp_path / name, card="# card", calibration=calibration)
        assert ("calibration.json" in names) == (name == "with")
        found = diffutron.load(tmp_path / name, device="cpu")
        assert found.temperatures == ({"choice": 1.5} if name == "with" else {})


def loaded(folder) -> ServedModel:
    model = ServedModel()
    model.load_context(SimpleNamespace(artifacts={"model": str(folder)}))
    return model


def test_it_answers_each_prompt(version):
    model = loaded(version)
    given = {"max_new_tokens": 4, "num_steps": 2}
    answers = model.predict(None, ["Merhaba", "Ankara"], params=given)
    assert [type(answer) for answer in answers] == [str, str]
    not_given = {"temperature": None, "block_length": None}
    assert model.predict(None, ["Merhaba", "Ankara"], params=given | not_given) == answers


def test_a_setting_that_cannot_be_is_a_bad_request(version):
    with pytest.raises(MlflowException, match="max_new_tokens=0 must be at least 1") as caught:
        loaded(version).predict(None, ["Merhaba"], params={"max_new_tokens": 0})
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


def test_every_file_is_checked(version, tmp_path):
    names = json.loads((version / "checksums.json").read_text(encoding="utf-8"))
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} <= names.keys()
    for name in names:
        copy = shutil.copytree(version, tmp_path / name)
        (copy / name).write_bytes((copy / name).read_bytes() + b" ")
        with pytest.raises(MlflowException, match=f"{name} is damaged"):
            loaded(copy)


def test_a_dockerfile_of_a_version_holds_all_that_serves_it(versions):
    """`mlflow models generate-dockerfile`: the model, its checksums, and the code that answers."""
    with tracking():
        asked = ["generate-dockerfile", "-m", "models:/diffutron/2", "-d", "image"]
        done = CliRunner().invoke(commands, [*asked, "--env-manager", "local"])
    assert done.exit_code == 0, done.output
    model = versions / "image/model_dir"
    assert "COPY model_dir" in (versions / "image/Dockerfile").read_text(encoding="utf-8")
    assert (model / "code/diffutron/api.py").is_file()
    verified(model / "artifacts/model", what="the version in the image")
    assert loaded(model / "artifacts/model").predict(None, ["Merhaba"], params={"num_steps": 2})
