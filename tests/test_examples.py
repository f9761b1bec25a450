"""The scripts of examples/ run as they are, on the tiny model."""

import os
import runpy
import subprocess
import sys

import pytest

from tests.support.project import CLONE

EXAMPLES = CLONE / "examples"
SAID = {
    "generate.py": ("[", "-> ", "infilled: Cuma"),
    "decide.py": ("bits per byte", "nats +- 0.000", "{'spor': "),
}


def test_every_example_is_tried_here():
    assert {path.name for path in EXAMPLES.iterdir()} == {*SAID, "tune.py"}


@pytest.mark.parametrize("name", SAID)
def test_an_example_prints_what_it_shows(name, tiny_model_dir, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, str(tiny_model_dir)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    printed = capsys.readouterr().out
    for part in SAID[name]:
        assert part in printed


@pytest.mark.slow
def test_the_tuning_example_leaves_a_model(tiny_model_dir, tmp_path):
    command = [sys.executable, str(EXAMPLES / "tune.py"), str(tiny_model_dir)]
    environment = {**os.environ, "PYTHONPATH": str(CLONE)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "tuned-on-fifty" / "model.safetensors").is_file()
