"""`diffutron sweep` from the shell on real stages: held-out text is measured, MLflow shows it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import copy_project

pytestmark = pytest.mark.slow

FILE = """
profile: demo
stages: [tokenizer, corpus, backbone]
measure: [heldout.bits_per_byte, backbone.eval_loss]
budget: {tokens: 6000}
seeds: [1]
base:
  evaluate.heldout_documents: 4
  evaluate.nelbo_samples: 2
  backbone.training.evaluate_samples: 8
  backbone.num_layers: 2
"""


def test_a_sweep_of_one_arm_measures_real_text(tmp_path, monkeypatch):
    monkeypatch.chdir(copy_project(tmp_path / "project"))  # MLflow keeps its artifacts there
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    file = tmp_path / "one.yaml"
    file.write_text(FILE)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "diffutron", "sweep", str(file), "--out", str(out), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    base = found["arms"]["base"]
    assert 0.5 < base["mean"] < 10
    assert base["tokens"] == pytest.approx(6000, rel=0.3)
    assert base["cpu_seconds"] > 0
    assert base["measures"]["backbone.eval_loss"]["mean"] < 9
    assert (out / "sweep.html").is_file()
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'diffutron'")
    runs = client.search_runs([experiment.experiment_id])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(runs) == 2
    assert children[0].data.metrics["heldout/bits_per_byte"] == pytest.approx(base["mean"])
    assert not Path("models").exists()


def test_a_mistake_is_one_line_and_code_2(repo, tmp_path, monkeypatch):
    monkeypatch.chdir(repo)
    file = tmp_path / "wrong.yaml"
    file.write_text(FILE.replace("[1]", "[]"))
    command = [sys.executable, "-m", "diffutron", "sweep", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
