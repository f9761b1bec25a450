"""A project of the real stages that trains in seconds: the built-in sample and a tiny encoder."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from diffutron.runtime.yaml_files import read_yaml

STAGES = ("pretrain", "instruct_phase1", "instruct_phase2")
OUTPUTS = {
    "pretrain": "models/adapter",
    "instruct_phase1": "models/phase1",
    "instruct_phase2": "models/phase2",
}
REPOSITORY = Path(__file__).resolve().parents[2]
TRAINING = {
    "epochs": None,
    "batch_size": 16,
    "packed_length": 64,
    "micro_batch_rows": 8,
    "checkpoint_every": 10,
    "evaluate_every": 120,
    "evaluate_samples": 16,
}
ENCODER = {
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 2,
    "intermediate_size": 48,
    "local_attention": 16,
}
PIPELINE = """
stages:
  pretrain:
    cmd: python -m diffutron pretrain
    deps: [models/backbone, data/corpus]
    params: [seed, pretrain]
    outs: [models/adapter: {persist: true}]
  instruct_phase1:
    cmd: python -m diffutron instruct_phase1 --model models/backbone
    deps: [models/backbone, data/instructions]
    params: [seed, instruct_phase1]
    outs: [models/phase1: {persist: true}]
  instruct_phase2:
    cmd: python -m diffutron instruct_phase2 --model models/backbone
    deps: [models/backbone, data/instructions]
    params: [seed, instruct_phase2]
    outs: [models/phase2: {persist: true}]
"""


def lay_out(folder: Path, *, steps: int, encoder: Mapping[str, int] = ENCODER) -> Path:
    """The parameters and the pipeline of such a project; no stage has run."""
    values = read_yaml(REPOSITORY / "infra/profiles/demo.yaml")
    for stage in ("backbone", *STAGES):
        values[stage]["training"] |= TRAINING | {"steps": 5 if stage == "backbone" else steps}
    values["backbone"] |= encoder
    write_params(folder, values)
    (folder / ".dvc").mkdir()
    settings = "[core]\n  no_scm = true\n  analytics = false\n  check_update = false\n"
    (folder / ".dvc/config").write_text(settings)
    (folder / "dvc.yaml").write_text(PIPELINE)
    return folder


def make_project(folder: Path, *, steps: int, encoder: Mapping[str, int] = ENCODER) -> Path:
    """Tokenizer, corpus, a hardly trained encoder and instructions, by the real stages."""
    lay_out(folder, steps=steps, encoder=encoder)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "DIFFUTRON_RANKS": "1"}
    for stage in ("tokenizer", "corpus", "backbone", "instructions"):
        command = [sys.executable, "-m", "diffutron", stage]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{stage}: {done.stderr.strip()}")
    return folder


def select(folder: Path, stage: str, zero: int) -> None:
    """Parameters for one case, and nothing left of an earlier one."""
    values = read_yaml(folder / "params.yaml")
    values[stage]["training"]["zero_stage"] = zero
    write_params(folder, values)
    for name in ("checkpoints", OUTPUTS[stage], ".dvc/cache"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "dvc.lock").unlink(missing_ok=True)


def write_params(folder: Path, values: object) -> None:
    from ruamel.yaml import YAML

    with (folder / "params.yaml").open("w", encoding="utf-8") as stream:
        YAML().dump(values, stream)
