"""Disk is freed of what no build needs, after saying how much; what is needed stays."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffutron.cli.app import main
from diffutron.operations.clean import find_waste, remove
from diffutron.runtime.errors import UserError

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A stage that has run twice, so that its first result is in the cache alone; checkpoints."""
    monkeypatch.chdir(tmp_path)
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n  no_scm = true\n  check_update = false\n")
    Path("dvc.yaml").write_text(
        "stages:\n  a: {cmd: mkdir -p data && cat in > data/out, deps: [in], outs: [data/out]}\n"
    )
    for size in (5000, 7000):
        Path("in").write_text("x" * size)
        subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], check=True)
    for number, name in enumerate(["pretrain-aaaa", "pretrain-bbbb", "instruct_phase1-cccc"]):
        folder = Path("checkpoints") / name
        (folder / "step-00000010").mkdir(parents=True)
        (folder / "step-00000010/weights").write_text("w" * 1000)
        os.utime(folder, (number, number))
    partial = Path("checkpoints/pretrain-bbbb/step-00000020.partial")
    partial.mkdir()
    (partial / "weights").write_text("w" * 300)
    os.utime("checkpoints/pretrain-bbbb", (9, 9))
    Path("data/.out.x1y2_z3w").mkdir()
    Path("data/.out.x1y2_z3w/half").write_text("h" * 70)
    Path("data/.gitignore").touch()
    return tmp_path


def test_what_goes_and_what_stays(project):
    found = {(one.why, one.bytes) for one in find_waste()}
    assert found == {
        ("checkpoints of other settings", 1000),
        ("half-written checkpoint", 300),
        ("half-written output of a run that was killed", 70),
        ("cached result that no commit refers to", 5000),
    }
    assert remove(find_waste()) == 6370
    assert find_waste() == []
    assert {path.name for path in Path("checkpoints").iterdir()} == {
        "pretrain-bbbb",
        "instruct_phase1-cccc",
    }
    assert Path("data/out").stat().st_size == 7000
    assert Path("data/.gitignore").exists()
    status = subprocess.run(
        [sys.executable, "-m", "dvc", "status"], capture_output=True, text=True, check=True
    )
    assert "up to date" in status.stdout


def call(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["diffutron", "clean", *arguments])
    try:
        main()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def test_nothing_goes_before_the_amount_is_said(project, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115 closed with the process
    assert call(monkeypatch) == 2
    out, err = capsys.readouterr()
    assert "1 x cached result that no commit refers to" in out
    assert "nothing was removed: add --yes" in err
    assert len(find_waste()) == 4
    assert call(monkeypatch, "--yes") == 0
    assert "freed 0.0 MB" in capsys.readouterr().out
    assert call(monkeypatch, "--yes") == 0
    assert capsys.readouterr().out == "nothing to remove\n"


def test_only_in_a_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no dvc.yaml here"):
        find_waste()
    Path("dvc.yaml").write_text("stages: {}\n")
    with pytest.raises(UserError, match="dvc gc: "):
        find_waste()


def test_a_finished_sweep_keeps_its_best_arm_and_an_unfinished_one_all(project):
    for sweep, kept in (("done", ["backbone-aa"]), ("begun", None)):
        for name in ("backbone-aa", "backbone-bb"):
            (Path("sweeps") / sweep / "work" / name).mkdir(parents=True)
        if kept is not None:
            Path(f"sweeps/{sweep}/sweep.json").write_text(json.dumps({"kept": kept}))
    found = [one.path for one in find_waste() if one.why == "stages of a finished sweep"]
    assert found == [Path("sweeps/done/work/backbone-bb")]


def test_checkpoints_of_a_tuning_need_no_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(["tune-mine-aaaa", "tune-mine-bbbb"]):
        (Path("checkpoints") / name).mkdir(parents=True)
        os.utime(Path("checkpoints") / name, (number, number))
    assert [one.path for one in find_waste()] == [Path("checkpoints/tune-mine-aaaa")]
