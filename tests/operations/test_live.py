"""A stage at work is a run of MLflow: seen within seconds, ended as the stage ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from diffutron.operations.live import shown_live
from diffutron.registry.mlflow_client import experiment_id, tracking
from diffutron.runtime.errors import StageFailure
from diffutron.runtime.live import BUILD_RUN, COLUMNS, LIVE, add_point
from tests.support.processes import wait_for
from tests.support.store import STORE, new_store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    with new_store(folder) as client:
        experiment_id(client)
    return folder / STORE


@pytest.fixture
def at_work(store, repo, tmp_path, monkeypatch):
    """A folder as DVC gives it to a stage."""
    shutil.copyfile(store, tmp_path / STORE)
    shutil.copyfile(repo / "params.yaml", "params.yaml")
    monkeypatch.delenv("DIFFUTRON_TRACKING")
    monkeypatch.setenv("DVC_STAGE", "backbone")
    monkeypatch.delenv("LOCAL_RANK", raising=False)  # of a training in this process
    Path("metrics").mkdir()
    return tmp_path


def run_of(stage="backbone"):
    """The run that the stage has made of itself, as soon as it is there."""
    wait_for((LIVE / f"{stage}.json").exists, seconds=120, what="the run")
    told = json.loads((LIVE / f"{stage}.json").read_text(encoding="utf-8"))
    with tracking() as client:
        return client.get_run(told["run_id"])


def history(run, name):
    with tracking() as client:
        found = client.get_metric_history(run.info.run_id, name)
    return [(one.step, one.value) for one in found]


def test_points_arrive_while_the_stage_works_and_its_numbers_at_the_end(at_work, monkeypatch):
    monkeypatch.setenv(BUILD_RUN, "the-build")
    with shown_live("backbone"):
        add_point({"step": 0, "eval_loss": 9.5, "tokens": 0})
        add_point({"step": 10, "loss": 8.25, "learning_rate": 0.5, "tokens": 64, "other": 1})
        run = run_of()
        wait_for(lambda: history(run, "loss") == [(10, 8.25)], seconds=60, what="the point")
        assert history(run, "eval_loss") == [(0, 9.5)]
        assert run.info.status == "RUNNING"
        assert run.data.tags["mlflow.parentRunId"] == "the-build"
        assert run.data.tags["stage"] == "backbone"
        add_point({"step": 20, "loss": 7.5, "tokens": 128})
        wait_for(
            lambda: history(run, "system/cpu_utilization_percentage"),
            seconds=60,
            what="what the machine does",
        )
        Path("metrics/backbone.json").write_text('{"eval_loss": 7.25, "device": "cpu"}')
    wait_for(lambda: run_of().info.status == "FINISHED", seconds=60, what="the end")
    assert history(run, "loss") == [(10, 8.25), (20, 7.5)]
    assert history(run, "eval_loss") == [(0, 9.5), (0, 7.25)]
    assert run_of().data.params["training.steps"]
    table = (LIVE / "backbone.csv").read_text(encoding="utf-8").splitlines()
    assert table[:2] == [",".join(COLUMNS), "0,,9.5,,,0,,"]


@pytest.mark.parametrize(
    ("fault", "status", "cause"),
    [
        (StageFailure("the loss at step 3 is nan"), "FAILED", "the loss at step 3 is nan"),
        (SystemExit(1), "FAILED", "1"),
        (SystemExit(143), "KILLED", "ended by SIGTERM"),  # as a launcher of ranks ends
        (KeyboardInterrupt(), "KILLED", "KeyboardInterrupt"),
    ],
)
def test_a_run_ends_as_its_stage_does(at_work, fault, status, cause):
    with pytest.raises(type(fault)), shown_live("corpus"):
        raise fault
    run = run_of("corpus")
    assert run.info.status == status
    assert run.data.tags["mlflow.note.content"] == cause


@pytest.mark.parametrize("ended", [None, SystemExit(0)])
def test_a_stage_of_seconds_is_left_to_register(at_work, ended):
    with suppress(SystemExit), shown_live("instructions"):
        if ended:
            raise ended
    assert not (LIVE / "instructions.json").exists()


def test_a_stage_that_is_killed_says_so(at_work):
    code = (
        "import time; from diffutron.operations.live import shown_live\n"
        "with shown_live('pretrain'): time.sleep(600)"
    )
    stage = subprocess.Popen([sys.executable, "-c", code])
    run_of("pretrain")
    os.kill(stage.pid, signal.SIGKILL)
    stage.wait()
    wait_for(lambda: run_of("pretrain").info.status == "KILLED", seconds=60, what="the end")
    assert run_of("pretrain").data.tags["mlflow.note.content"] == "ended from outside"


def test_a_store_that_is_away_costs_a_stage_nothing(at_work, monkeypatch):
    """Also at its end, where the stage waits for a while at most."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr("diffutron.operations.live.LAST_WORDS", 0.5)
    started = time.monotonic()
    with suppress(StageFailure), shown_live("corpus"):
        add_point({"step": 1, "loss": 2.0})
        raise StageFailure("no documents")
    assert time.monotonic() - started < 60
    assert not (LIVE / "corpus.json").exists()
    log = LIVE / "corpus.log"
    wait_for(lambda: "not sent yet: MLflow at" in log.read_text(), seconds=120, what="the word")
    (sender,) = (one for one in psutil.Process().children() if "corpus" in one.cmdline())
    sender.terminate()  # as the guard of a flow does with all that is left
    sender.wait(timeout=60)


@pytest.mark.parametrize(
    ("name", "value"),
    [("DIFFUTRON_TRACKING", "off"), ("LOCAL_RANK", "1"), ("DVC_STAGE", None)]
    + [("DIFFUTRON_HOSTS", "2")],
)
def test_only_the_process_that_dvc_started_shows_itself(at_work, monkeypatch, name, value):
    monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    with shown_live("backbone"):
        add_point({"step": 1, "loss": 2.0})
    assert not LIVE.exists()
