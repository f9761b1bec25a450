"""A small pipeline whose stages cost milliseconds, in a folder with the profiles of the project."""

import shutil
from pathlib import Path

import pytest

WORK = '''
"""A stage of the toy pipeline; a training leaves the record that a real one leaves."""
import json, sys, time
from pathlib import Path
from ruamel.yaml import YAML

name = sys.argv[1]
values = YAML(typ="safe").load(Path("params.yaml").read_text())
with (Path(__file__).parent / "runs.txt").open("a") as runs:
    runs.write(f"{name} {values['seed']}\\n")
if name in ("tokenizer", "corpus"):
    Path("data").mkdir(exist_ok=True)
    if name == "corpus":
        assert Path("data/tokenizer").read_text()
    Path(f"data/{name}").write_text(str(values["seed"]))
    Path("metrics").mkdir(exist_ok=True)
    Path(f"metrics/{name}.json").write_text("{}")
else:
    training = values["backbone"]["training"]
    steps = training["steps"]
    if training["learning_rate"] > 0.5:
        sys.exit("error: backbone: the loss at step 3 is nan")
    seed = int(Path("data/corpus").read_text())
    loss = 3.0 + seed + 0.01 * ((seed * 7) % 5) - 10 * training["learning_rate"] - steps / 1000
    Path("models").mkdir(exist_ok=True)
    Path("models/backbone").write_text("weights")
    record = {
        "steps": steps, "epochs": steps / 50, "tokens": 100 * steps, "flops": 1e6 * steps,
        "cpu_seconds": 0.5 * steps, "peak_bytes": 1000, "eval_loss": loss,
    }
    Path("metrics/backbone.json").write_text(json.dumps(record))
    lines = ["step,loss,eval_loss,learning_rate,tokens,skipped_steps"]
    for step in range(training["evaluate_every"], steps + 1, training["evaluate_every"]):
        lines.append(f"{step},4.0,{loss + 1 - step / steps},0.1,{100 * step},0")
    Path("metrics/backbone.csv").write_text("\\n".join(lines) + "\\n")
'''

PIPELINE = """
stages:
  tokenizer:
    cmd: python {work} tokenizer
    params: [seed, tokenizer]
    outs: [data/tokenizer]
    metrics: [metrics/tokenizer.json]
  corpus:
    cmd: python {work} corpus
    deps: [data/tokenizer]
    params: [seed, corpus]
    outs: [data/corpus]
    metrics: [metrics/corpus.json]
  backbone:
    cmd: python {work} backbone
    deps: [data/corpus, work.py]
    params: [seed, backbone]
    outs: [models/backbone]
    metrics: [metrics/backbone.json]
    plots: [metrics/backbone.csv]
"""

FILE = """
profile: demo
stages: [backbone, tokenizer, corpus]
measure: [backbone.eval_loss]
budget: {cpu_seconds: 100}
seeds: [1, 2, 3]
base: {backbone.training.learning_rate: 0.01}
arms:
  faster: {backbone.training.learning_rate: 0.09}
  same: {}
"""


@pytest.fixture
def lab(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder to stand in: dvc.yaml, the profiles, and `sweep.yaml`; MLflow is left out."""
    from diffutron.lab import workshop

    workshop.step_of.cache_clear()
    workshop._code_digest.cache_clear()
    folder = tmp_path / "lab"
    shutil.copytree(repo / "infra" / "profiles", folder / "infra" / "profiles")
    (folder / "work.py").write_text(WORK)
    (folder / "dvc.yaml").write_text(PIPELINE.format(work=folder / "work.py"))
    (folder / "sweep.yaml").write_text(FILE)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("diffutron.lab.sweep.log_sweep", lambda *_, **__: None)
    yield folder
    workshop.step_of.cache_clear()
    workshop._code_digest.cache_clear()
