"""The engine's configuration: ours, and what a machine may add."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from diffutron.runtime.errors import UserError
from diffutron.training.engine import CONFIG, NEEDS_STAGE, engine_config
from diffutron.training.pretrain import pretrain
from diffutron.training.ranks import Ranks
from tests.support.project import CLONE

ALONE = Ranks(0, 1, torch.device("cpu"))


@pytest.fixture
def training(make_params):
    return make_params({"pretrain.training.max_grad_norm": 0.5}).pretrain.training


def test_the_configuration_comes_from_the_parameters(training):
    config = engine_config(training, ALONE, universal=False)
    assert config["gradient_clipping"] == 0.5
    assert config["zero_optimization"] == {"stage": training.zero_stage}
    assert not config["bf16"]["enabled"]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("precision", ["auto", "float32", "bf16"])
def test_the_precision_is_the_one_asked_for(precision, device, make_params):
    training = make_params({"pretrain.training.precision": precision}).pretrain.training
    found = engine_config(training, Ranks(0, 1, torch.device(device)), universal=True)
    expected = precision == "bf16" or (precision == "auto" and device == "cuda")
    assert found["bf16"]["enabled"] == expected


FACTS = sorted((CLONE / "infra" / "deepspeed").glob("*.json"))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
@pytest.mark.parametrize("file", FACTS, ids=lambda file: file.stem)
def test_every_shipped_file_trains_at_every_stage(
    file, stage, precision, short_params, monkeypatch, tiny_model_dir, corpus_dir, capfd
):
    """What a stage of ZeRO cannot do is left out, with a line that says so."""
    monkeypatch.setenv(CONFIG, str(file))
    asked = json.loads(file.read_text())["zero_optimization"]
    changes = {"zero_stage": stage, "precision": precision, "steps": 1}
    params = short_params({f"pretrain.training.{k}": v for k, v in changes.items()})
    pretrain(
        params,
        backbone=tiny_model_dir,
        corpus=corpus_dir,
        out=Path("adapter"),
        metrics=Path("pretrain.json"),
    )
    assert json.loads(Path("pretrain.json").read_text())["skipped_steps"] == 0
    left_out = [key for key in asked if stage < NEEDS_STAGE.get(key, 0)]
    assert (
        re.findall(r"(\w+) is left out, since it needs zero_stage", capfd.readouterr().out)
        == left_out
    )


@pytest.mark.parametrize(
    ("facts", "key"),
    [
        ({"gradient_clipping": 9}, "gradient_clipping"),
        ({"zero_optimization": {"stage": 1}}, "zero_optimization.stage"),
    ],
)
def test_what_the_parameters_set_is_refused(facts, key, training, monkeypatch, tmp_path):
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    monkeypatch.setenv(CONFIG, str(tmp_path / "facts.json"))
    with pytest.raises(UserError, match=f"`{key}` is set by params.yaml"):
        engine_config(training, ALONE, universal=False)


@pytest.mark.parametrize("content", [None, "{", "[1]"])
def test_an_unreadable_file_of_facts(content, training, monkeypatch, tmp_path):
    if content:
        (tmp_path / "facts.json").write_text(content)
    monkeypatch.setenv(CONFIG, str(tmp_path / "facts.json"))
    with pytest.raises(UserError, match="no readable JSON"):
        engine_config(training, ALONE, universal=False)


@pytest.mark.slow
def test_importing_deepspeed_is_quiet_and_leaves_mlflow_alone():
    program = (
        "import sys; from diffutron.training import quiet_deepspeed as quiet;"
        "quiet.import_deepspeed();"
        "print([m for m in sys.modules if m == 'mlflow']); import mlflow; print(mlflow.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["[]", "mlflow"]
    assert done.stderr == ""
