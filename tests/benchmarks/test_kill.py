"""The kill harness itself: cases, victims, and what it calls lost; the runs are made by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import kill
from benchmarks.parts.tiny_project import OUTPUTS, STAGES, lay_out


def test_three_runs_hit_every_stage_and_nine_every_pair():
    cases = [kill.case(number) for number in range(9)]
    assert len({*cases}) == 9
    for start in (0, 3, 6):
        stages, zeros = zip(*cases[start : start + 3], strict=True)
        assert ({*stages}, {*zeros}) == ({*STAGES}, {1, 2, 3})


def test_only_complete_checkpoints_count(tmp_path):
    assert kill.newest(tmp_path) == 0
    for name in ("step-00000010", "step-00000020", "step-00000030.partial"):
        (tmp_path / "checkpoints/pretrain-ab" / name).mkdir(parents=True)
    assert kill.newest(tmp_path) == 20


def ended(text: str, folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", f"print({text!r})"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)


def lost(folder: Path, text: str, *, saved: int) -> list[str]:
    outcome = kill.Outcome("pretrain", 2, kills=["dvc"])
    kill.check_after_kill(folder, "pretrain", ended(text, folder), outcome, saved=saved)
    return outcome.lost


def test_what_counts_as_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(kill, "GONE", 1.0)
    tmp_path = tmp_path / "project"  # who works in it counts as left over, and is killed
    tmp_path.mkdir()
    assert lost(tmp_path, "pretrain: resumed at step 20 of 60", saved=20) == []
    assert lost(tmp_path, "nothing", saved=20) == []  # killed before it came to that
    (gone,) = lost(tmp_path, "pretrain: resumed at step 10 of 60", saved=20)
    assert gone == "step 20 was saved, the next run went on at 10"
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=tmp_path)
    (stayed,) = lost(tmp_path, "", saved=0)
    assert stayed == "after dvc 1 processes stayed"
    assert left.wait(10) == -9
    (tmp_path / OUTPUTS["pretrain"]).mkdir(parents=True)
    (half,) = lost(tmp_path, "", saved=0)
    assert half == "after dvc the output is half-written"


def test_equal_weights_have_equal_digests(tmp_path):
    folder = tmp_path / OUTPUTS["pretrain"]
    folder.mkdir(parents=True)
    (folder / "a.safetensors").write_bytes(b"1")
    before = kill.weights(tmp_path, "pretrain")
    assert kill.weights(tmp_path, "pretrain") == before
    (folder / "a.safetensors").write_bytes(b"2")
    assert kill.weights(tmp_path, "pretrain") != before


def test_the_report_adds_up(capsys):
    good = kill.Outcome("pretrain", 1, kills=["rank 0", "dvc"])
    bad = kill.Outcome("instruct_phase1", 2, kills=["guard"], lost=["x"])
    kill.say(1, 2, good, True, 10.0)
    kill.say(2, 2, bad, False, 20.0)
    kill.report([(good, True), (bad, False)], seconds=20.0, as_json=False)
    out, err = capsys.readouterr()
    assert "kills: 3\nlost: 1\nbit_equal: False\nbit_equal_runs: 1" in out
    assert "weights NOT EQUAL; lost: x (0 s left)" in err
    with pytest.raises(SystemExit):
        kill.parse(["--runs", "0"])


@pytest.mark.slow
def test_a_training_that_fails_by_itself_is_told(tmp_path, monkeypatch):
    """tests/infra trains in such a project."""
    made = lay_out(tmp_path, steps=20)
    for folder in ("models/backbone", "data/corpus"):
        (made / folder).mkdir(parents=True)
    monkeypatch.chdir(made)
    with pytest.raises(SystemExit, match=r"pretrain with ZeRO-2 fails by itself"):
        kill.uninterrupted(made, "pretrain", 2)
