"""The engine's configuration: ours, and what a machine may add."""

import json
import subprocess
import sys

import pytest
import torch

from diffutron.runtime.errors import UserError
from diffutron.training.engine import CONFIG, engine_config
from diffutron.training.ranks import Ranks

ALONE = Ranks(0, 1, torch.device("cpu"))


@pytest.fixture
def training(make_params):
    return make_params({"pretrain.training.max_grad_norm": 0.5}).pretrain.training


def test_the_configuration_comes_from_the_parameters(training):
    config = engine_config(training, ALONE, universal=False)
    assert config["gradient_clipping"] == 0.5
    assert config["zero_optimization"] == {"stage": training.zero_stage}
    assert not config["bf16"]["enabled"]
    on_gpu = Ranks(0, 1, torch.device("cuda"))
    assert engine_config(training, on_gpu, universal=True)["bf16"]["enabled"]


def test_a_machine_adds_its_facts(training, monkeypatch, repo):
    for file in sorted((repo / "infra" / "deepspeed").glob("*.json")):
        monkeypatch.setenv(CONFIG, str(file))
        config = engine_config(training, ALONE, universal=False)
        facts = json.loads(file.read_text())
        expected = {"stage": training.zero_stage} | facts["zero_optimization"]
        assert config["zero_optimization"] == expected
        assert config["gradient_clipping"] == 0.5


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
