"""`infra/prefect.yaml` as a team uses it: one process worker a machine, each with its own clone."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.kill import newest, uninterrupted, weights
from benchmarks.parts.tiny_project import select, write_params
from diffutron.runtime.yaml_files import read_yaml
from tests.support.prefect_api import PrefectApi
from tests.support.processes import processes_in, wait_for

pytestmark = [pytest.mark.infra, pytest.mark.timeout(900)]
MACHINES = ("one", "two")


@pytest.fixture(scope="module")
def api():
    """The address of a Prefect server."""
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    random.seed()  # the harness draws its port
    with prefect_test_harness(server_startup_timeout=120):
        yield PREFECT_API_URL.value()


@pytest.fixture(scope="module")
def machines(tmp_path_factory, repo) -> dict[str, Path]:
    folders = {name: tmp_path_factory.mktemp(name) for name in MACHINES}
    for folder in folders.values():
        shutil.copytree(repo / "flows", folder / "flows")
        shutil.copytree(repo / "infra", folder / "infra")
    return folders


@pytest.fixture(scope="module")
def prefect(api, repo, tmp_path_factory):
    """`prefect(folder, "worker", "start", ..., log=FILE)`: the command in a machine's clone."""
    common = {"PREFECT_API_URL": api, "PYTHONPATH": str(repo), "OMP_NUM_THREADS": "1"}
    common |= {"PREFECT_HOME": str(tmp_path_factory.mktemp("home"))}
    common |= {"PREFECT_WORKER_QUERY_SECONDS": "3", "DIFFUTRON_RANKS": "1"}
    started = []

    def call(home: Path, *words: str, log: Path) -> "subprocess.Popen[bytes]":
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "prefect", "--no-prompt", *words],
                cwd=home,
                env={**os.environ, **common, "DIFFUTRON_HOME": str(home)},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
        return process

    yield call
    end(started)


def end(processes: "list[subprocess.Popen[bytes]]") -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(60)


@pytest.fixture
def pool(api, prefect, tmp_path):
    """`pool("machines", {"one": folder, "two": folder})`: deployments and a worker a machine."""
    workers = []

    def make(name: str, folders: dict[str, Path]) -> dict[str, Path]:
        first = next(iter(folders.values()))
        for words in (
            ("work-pool", "create", "--type", "process", "--overwrite", "machines"),
            ("deploy", "--all", "--prefect-file", "infra/prefect.yaml"),
        ):
            log = tmp_path / f"{words[0]}.log"
            assert prefect(first, *words, log=log).wait(300) == 0, log.read_text()
        logs = {machine: tmp_path / f"{machine}.log" for machine in folders}
        for machine, folder in folders.items():
            words = ("worker", "start", "--pool", "machines", "--type", "process", "--limit", "1")
            workers.append(prefect(folder, *words, "--name", machine, log=logs[machine]))

        def online() -> bool:
            found = PrefectApi(api).call("POST", "/work_pools/machines/workers/filter")
            return {each["name"] for each in found if each["status"] == "ONLINE"} >= {*folders}

        wait_for(online, seconds=180, what="the workers")
        return logs

    yield make
    end(workers)


def states(api: str, runs: list[str]) -> list[dict]:
    """Of runs that have all ended; an empty list before."""
    found = PrefectApi(api).call("POST", "/flow_runs/filter", flow_runs={"id": {"any_": runs}})
    over = all(r["state_type"] in ("FAILED", "CRASHED", "COMPLETED", "CANCELLED") for r in found)
    return [run["state"] for run in found] if over else []


def test_each_machine_takes_a_run_into_its_own_clone(api, pool, machines):
    logs = pool("machines", machines)
    runs = [PrefectApi(api).run("promote", version=1) for _ in MACHINES]
    ended = wait_for(lambda: states(api, runs), seconds=300, what="the end of both runs")
    told = {name: log.read_text() for name, log in logs.items()}
    for name in machines:
        # Both ask for the first one: whom the server refuses has logged its number too.
        assert len([run for run in runs if f"flow-run/{run}" in told[name]]) == 1, told
    said = {state["message"].split(";")[0] for state in ended}
    # `diffutron gate` has looked for the registry of its own clone.
    assert said == {
        f"gate: no registry here: {folder}/mlflow.db does not exist" for folder in machines.values()
    }


@pytest.fixture(scope="module")
def shared(tmp_path_factory, tiny_project, repo) -> Path:
    """A project on a file system that all machines see."""
    folder = shutil.copytree(tiny_project, tmp_path_factory.mktemp("shared") / "project")
    for name in ("flows", "infra"):
        shutil.copytree(repo / name, folder / name)
    return folder


def test_machines_train_one_stage_together(api, pool, shared):
    """Both workers take part, DVC runs on one; the weights are those of two ranks on one host."""
    undisturbed = uninterrupted(shared, "pretrain", 2)
    select(shared, "pretrain", 2)
    logs = pool("machines", dict.fromkeys(MACHINES, shared))
    run = PrefectApi(api).run("train", stage="pretrain", machines=2)
    (ended,) = wait_for(lambda: states(api, [run]), seconds=400, what="the training")
    told = {name: log.read_text() for name, log in logs.items()}
    assert ended["message"] == "trained pretrain on 2 machines", told
    (joined,) = PrefectApi(api).call(
        "POST", "/flow_runs/filter", flows={"name": {"any_": ["join"]}}
    )
    wait_for(lambda: states(api, [joined["id"]]), seconds=60, what="the end of the other")
    assert states(api, [joined["id"]])[0]["message"] == "took part in pretrain", told
    leading = [name for name, text in told.items() if run in text]
    assert [name for name, text in told.items() if joined["id"] in text] not in ([], leading)
    assert weights(shared, "pretrain") == undisturbed
    again = PrefectApi(api).run("train", stage="pretrain", machines=2)
    (ended,) = wait_for(lambda: states(api, [again]), seconds=300, what="the second run")
    assert ended["message"] == "pretrain: nothing it depends on has changed"


def test_a_cancelled_training_leaves_no_machine_behind(api, pool, shared):
    values = read_yaml(shared / "params.yaml")
    values["pretrain"]["training"]["steps"] = 100_000
    write_params(shared, values)
    pool("machines", dict.fromkeys(MACHINES, shared))
    run = PrefectApi(api).run("train", stage="pretrain", machines=2)
    wait_for(lambda: newest(shared), seconds=300, what="a checkpoint")
    PrefectApi(api).cancel(run)
    wait_for(lambda: states(api, [run]), seconds=120, what="the cancelled run")
    wait_for(lambda: not ranks(shared), seconds=90, what="the end of all ranks")


def ranks(folder: Path) -> list[psutil.Process]:
    """Processes of the stage, on either machine."""
    return [one for one in processes_in(folder) if "pretrain" in one.cmdline()]
