"""Ranks as processes: started, told apart, ended, killed, resumed, and counted anew."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from diffutron.runtime.errors import StageFailure, UserError
from diffutron.training.ranks import (
    COLLECTIVE_TIMEOUT,
    DRIVERS,
    ERRORS,
    LAUNCHER,
    _join,
    collective_timeout,
    explain_collectives,
    launch_ranks,
    num_ranks,
    run_elastic,
    training_process,
)


def test_number_of_ranks(monkeypatch):
    monkeypatch.setattr("diffutron.training.ranks._num_gpus", lambda: 0)
    assert num_ranks(ranks_on_cpu=2) == 2
    monkeypatch.setattr("diffutron.training.ranks._num_gpus", lambda: 8)
    assert num_ranks(ranks_on_cpu=2) == 8
    monkeypatch.setenv("DIFFUTRON_RANKS", "3")
    assert num_ranks(ranks_on_cpu=2) == 3
    for wrong in ("0", "two", "-1", ""):
        monkeypatch.setenv("DIFFUTRON_RANKS", wrong)
        with pytest.raises(UserError, match="DIFFUTRON_RANKS="):
            num_ranks(ranks_on_cpu=2)


@pytest.mark.parametrize("file", DRIVERS)
def test_a_driver_of_any_maker_is_found(file, monkeypatch):
    """NVIDIA, ROCm and WSL; without a driver torch is not asked, since its import takes seconds."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == file)
    assert num_ranks(ranks_on_cpu=2) == 3
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert num_ranks(ranks_on_cpu=2) == 2


def test_more_ranks_than_gpus_is_one_line(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match="rank 2 of this machine has no GPU, since there are 2; "):
        _join()


def test_a_rank_or_a_process_alone_does_the_work_itself(monkeypatch):
    monkeypatch.setenv("DIFFUTRON_RANKS", "1")
    assert not launch_ranks(["pretrain"], ranks_on_cpu=2)
    monkeypatch.setenv("DIFFUTRON_RANKS", "2")
    monkeypatch.setenv("RANK", "0")
    assert not launch_ranks(["pretrain"], ranks_on_cpu=2)


@pytest.fixture
def command(short_params, tiny_model_dir, corpus_dir, tmp_path):
    """`command("a", **changes)`: pretrain as a user runs it, with outputs of that name."""

    def make(name: str, **changes: object) -> list[str]:
        from ruamel.yaml import YAML

        params = short_params({f"pretrain.training.{k}": v for k, v in changes.items()})
        file = tmp_path / f"{name}.yaml"
        with file.open("w") as stream:
            YAML().dump(params.model_dump(mode="json", by_alias=True), stream)
        options = {"--backbone": tiny_model_dir, "--corpus": corpus_dir, "--params": file}
        options |= {"--out": tmp_path / name, "--metrics": tmp_path / f"{name}.json"}
        words = [str(word) for pair in options.items() for word in pair]
        return [sys.executable, "-m", "diffutron", "pretrain", *words]

    return make


def run(command: list[str], *, ranks: int) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DIFFUTRON_RANKS": str(ranks), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def newest(checkpoints: Path) -> int:
    """The step of the newest complete checkpoint; 0 without one."""
    found = [int(p.name[5:]) for p in checkpoints.glob("pretrain-*/step-*") if not p.suffix]
    return max(found, default=0)


def kill_at(step: int, command: list[str], *, ranks: int, checkpoints: Path) -> str:
    """SIGKILL once the checkpoint of that step is there; what it had said."""
    environment = os.environ | {"DIFFUTRON_RANKS": str(ranks), "OMP_NUM_THREADS": "1"}
    with (checkpoints.parent / "said.txt").open("w+") as said:
        process = subprocess.Popen(command, env=environment, stdout=said)
        wait_for(lambda: newest(checkpoints) >= step)
        process.kill()
        process.wait()
        said.seek(0)
        return said.read()


def adapter(folder: Path) -> dict[str, list]:
    weights = load_file(folder / "adapter_model.safetensors")
    return {name: weight.tolist() for name, weight in weights.items()}


def curve(file: Path) -> list[float]:
    rows = file.with_suffix(".csv").read_text().splitlines()[1:]
    return [float(row.split(",")[1]) for row in rows]


def wait_for(found, *, seconds: float = 300) -> None:
    """Poll until `found()`; a file is the only sign that another process gives."""
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.02)


def processes_with(word: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:  # it ended meanwhile
            continue
        if word in line and state != "Z":
            found.append(int(folder.name))
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_and_resumed_at_two_ranks_at_one_and_at_two_again(command, tmp_path):
    """SIGKILL of the launcher: no rank outlives it, and the next run goes on where it stopped."""
    changes = {"steps": 60, "learning_rate": 0.001}
    whole = run(command("whole", **changes), ranks=2)
    assert whole.returncode == 0, whole.stderr
    assert json.loads((tmp_path / "whole.json").read_text())["world_size"] == 2
    assert "warning" not in (whole.stdout + whole.stderr).lower()

    checkpoints = tmp_path / "checkpoints"
    kill_at(5, command("cut", **changes), ranks=2, checkpoints=checkpoints)
    wait_for(lambda: not processes_with(str(tmp_path / "cut.yaml")), seconds=10)
    assert not (tmp_path / "cut").exists()
    shutil.copytree(checkpoints, tmp_path / "saved")

    resumed = run(command("cut", **changes), ranks=2)
    assert "pretrain: resumed at step" in resumed.stdout, resumed.stderr
    assert adapter(tmp_path / "cut") == adapter(tmp_path / "whole")
    assert curve(tmp_path / "cut.json") == curve(tmp_path / "whole.json")

    shutil.rmtree(checkpoints)
    (tmp_path / "saved").rename(checkpoints)
    first = newest(checkpoints)
    told = kill_at(first + 20, command("again", **changes), ranks=1, checkpoints=checkpoints)
    assert "was written by 2 ranks and is converted for 1" in told
    assert f"resumed at step {first} of 60" in told
    again = run(command("again", **changes), ranks=2)
    assert again.returncode == 0, again.stderr
    assert "was written by 1 ranks and is converted for 2" in again.stdout
    values, expected = (
        json.loads((tmp_path / f"{n}.json").read_text()) for n in ("again", "whole")
    )
    assert values["resumed_from"] >= first + 20
    near = values["resumed_from"] + 20  # of both changes; later steps drift by rounding alone
    theirs = curve(tmp_path / "whole.json")
    assert curve(tmp_path / "again.json")[:near] == pytest.approx(theirs[:near], abs=1e-5)
    assert values["eval_loss"] == pytest.approx(expected["eval_loss"], abs=0.02)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_users_mistake_is_told_once(command, tmp_path):
    words = command("bad")
    words[words.index("--corpus") + 1] = str(tmp_path / "nowhere")
    done = run(words, ranks=2)
    assert done.returncode == 2
    message = f"error: folder {tmp_path / 'nowhere'} does not exist; run the stage `corpus` first"
    assert done.stderr.strip().splitlines() == [message]
    assert done.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit(3)", r"rank \d \(process \d+\) ended with code 3"),
        ("import os; os.kill(os.getpid(), 9)", r"rank \d \(process \d+\) was killed by SIGKILL"),
    ],
)
def test_a_rank_that_dies_is_named(program, reason, tmp_path):
    with pytest.raises(StageFailure, match=reason):
        run_elastic([sys.executable, "-c", program], 2, tmp_path)


@pytest.mark.slow
def test_the_reason_of_the_lowest_rank_is_raised_again(tmp_path):
    for rank, kind in ((3, "UserError"), (1, "StageFailure")):
        reason = {"kind": kind, "message": f"told by rank {rank}"}
        (tmp_path / f"{rank:06}.json").write_text(json.dumps(reason))
    with pytest.raises(StageFailure, match="told by rank 1"):
        run_elastic([sys.executable, "-c", "raise SystemExit(2)"], 1, tmp_path)


@pytest.mark.slow
def test_sigterm_ends_the_ranks_first(tmp_path):
    program = f"open(r'{tmp_path}/' + __import__('os').environ['RANK'], 'w'); input()"
    starter = (
        "import sys, pathlib; from diffutron.training.ranks import run_elastic;"
        f"run_elastic([sys.executable, '-c', {program!r}], 2, pathlib.Path())"
    )
    process = subprocess.Popen([sys.executable, "-c", starter], stdin=subprocess.PIPE)
    wait_for(lambda: (tmp_path / "0").exists() and (tmp_path / "1").exists())
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert not processes_with(str(tmp_path))


def test_a_rank_leaves_its_reason_to_the_launcher(tmp_path, monkeypatch):
    monkeypatch.setenv(ERRORS, str(tmp_path))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("diffutron.training.ranks._join", lambda: None)
    with pytest.raises(SystemExit) as ended, training_process():
        raise UserError("no such thing")
    assert ended.value.code == 2
    expected = {"kind": "UserError", "message": "no such thing"}
    assert json.loads((tmp_path / "000001.json").read_text()) == expected


def test_a_rank_whose_launcher_is_gone_ends(monkeypatch):
    monkeypatch.setenv(LAUNCHER, "1" if os.getppid() != 1 else "2")
    program = "from diffutron.training.ranks import die_with_launcher as die; die(); print('alive')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("given", ["soon", "0", "-3", "nan", "90000"])
def test_a_time_limit_that_cannot_be(given, monkeypatch):
    monkeypatch.setenv(COLLECTIVE_TIMEOUT, given)
    with pytest.raises(UserError, match=f"{COLLECTIVE_TIMEOUT}='{given}': give seconds"):
        collective_timeout()


def test_the_time_limit(monkeypatch):
    monkeypatch.delenv(COLLECTIVE_TIMEOUT, raising=False)
    assert collective_timeout() == 300
    monkeypatch.setenv(COLLECTIVE_TIMEOUT, "7.5")
    assert collective_timeout() == 7.5


@pytest.mark.parametrize("rank", [None, "1"])
def test_what_the_communication_library_says_is_explained(rank, monkeypatch):
    hangs = "[gloo/transport] Timed out waiting 5000ms for recv operation to complete\nat x.cc"
    monkeypatch.setenv("RANK", rank) if rank else monkeypatch.delenv("RANK", raising=False)
    kind = StageFailure if rank else RuntimeError
    with pytest.raises(kind, match="Timed out waiting 5000ms"), explain_collectives():
        raise RuntimeError(hangs)
    with pytest.raises(RuntimeError, match="^shape"), explain_collectives():
        raise RuntimeError("shape mismatch")


@pytest.mark.slow
def test_an_idle_rank_ends_the_run_with_a_reason(command, tmp_path, monkeypatch):
    """A rank that is stopped answers no collective call; the last checkpoint stays."""
    environment = os.environ | {"DIFFUTRON_RANKS": "2", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command("idle", steps=100_000),
        env=environment | {COLLECTIVE_TIMEOUT: "5"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: list((tmp_path / "checkpoints").glob("pretrain-*/step-*5")))
    ranks = [pid for pid in processes_with(str(tmp_path / "idle.yaml")) if pid != process.pid]
    os.kill(max(ranks), signal.SIGSTOP)
    # The launcher gives the stopped rank 30 s to end before it kills it.
    _, told = process.communicate(timeout=500)
    assert process.returncode == 1
    assert "waited for another one that is idle or gone (collective_timeout 5 s" in told
    assert not processes_with(str(tmp_path / "idle.yaml"))
    assert list((tmp_path / "checkpoints").glob("pretrain-*/step-*[05]"))
