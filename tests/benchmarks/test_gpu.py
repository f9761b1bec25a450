"""The script for a GPU, run whole on this machine: its keys, its equalities, its faults."""

import importlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def gpu(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(repo))
    monkeypatch.chdir(repo)
    return importlib.import_module("benchmarks.gpu")


def test_every_part_runs_and_the_device_agrees_with_the_cpu(gpu, tmp_path, capsys):
    gpu.main(["--tiny", "--json", "--seconds", "1500", "--out", str(tmp_path)])
    found = json.loads(capsys.readouterr().out)
    assert list(found) == list(gpu.PARTS)
    assert found == json.loads((tmp_path / "gpu.json").read_text())
    assert not [name for name, part in found.items() if "error" in part or "left_out" in part]
    parity = found["parity"]
    assert all(parity[f"{name}_equal"] for name in ("noise", "greedy", "temperature", "guidance"))
    assert parity["largest_score_difference"] < 1e-9
    assert found["gradients"]["lora"]["gradient_difference"] < 0.02
    assert found["step"].keys() >= {"ours_lora", "plain_lora", "ours_full", "plain_full"}
    assert found["engine"]["resumed_from"] == 10
    assert found["engine"]["largest_loss_difference_after_resume"] == 0
    losses = [found["engine"][f"zero{stage}"]["loss"] for stage in (1, 2, 3)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-4)
    assert found["training"]["eval_loss"] < found["training"]["eval_loss_before"]


def test_a_part_that_fails_or_hangs_leaves_the_others_alone(gpu, tmp_path, capsys, monkeypatch):
    def breaks(run: Any) -> dict[str, Any]:
        run.partial["seen"] = 1
        raise RuntimeError("no such\nkernel")

    def hangs(run: Any) -> dict[str, Any]:
        time.sleep(60)
        return {}

    parts = {"broken": (breaks, 0.5), "slow": (hangs, 0.01), "fine": (lambda run: {"x": 1}, 0.5)}
    monkeypatch.setattr(gpu, "PARTS", parts)
    with pytest.raises(SystemExit):
        gpu.main(["--tiny", "--json", "--seconds", "20", "--out", str(tmp_path)])
    found = json.loads(capsys.readouterr().out)
    assert found["broken"]["error"] == "RuntimeError: no such kernel"
    assert found["broken"]["seen"] == 1
    assert found["slow"]["error"] == "TimeoutError: stopped after 0 s"
    assert found["fine"].keys() == {"x", "part_seconds"}


def test_no_time_is_no_fault(gpu, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gpu, "PARTS", {"fine": (lambda run: {"x": 1}, 0.5)})
    gpu.main(["--json", "--seconds", "0", "--out", str(tmp_path)])
    assert json.loads(capsys.readouterr().out) == {"fine": {"left_out": "no time was left"}}


def test_an_unknown_part_is_one_line(gpu, capsys):
    with pytest.raises(SystemExit, match="2"):
        gpu.main(["--only", "setp"])
    assert "--only setp: choose from environment, parity" in capsys.readouterr().err
