"""`infra/prefect.yaml` as a team uses it: one process worker a machine, each with its own clone."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from .conftest import wait_for

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
        (folder / "registry").mkdir()
        (folder / "registry/registered.json").write_text('{"registered": true, "version": 1}')
    return folders


@pytest.fixture(scope="module")
def prefect(api, machines, repo, tmp_path_factory):
    """`prefect("one", "worker", "start", ...)`: the command in that machine's clone."""
    common = {"PREFECT_API_URL": api, "PYTHONPATH": str(repo), "OMP_NUM_THREADS": "1"}
    common |= {"PREFECT_HOME": str(tmp_path_factory.mktemp("home"))}
    common |= {"PREFECT_WORKER_QUERY_SECONDS": "3"}
    started = []

    def call(machine: str, *words: str, log: Path) -> "subprocess.Popen[bytes]":
        home = machines[machine]
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
    for process in started:
        process.terminate()
    for process in started:
        process.wait(60)


def test_each_machine_takes_a_run_into_its_own_clone(api, prefect, machines, tmp_path):
    for words in (
        ("work-pool", "create", "--type", "process", "machines"),
        ("deploy", "--all", "--prefect-file", "infra/prefect.yaml"),
    ):
        log = tmp_path / f"{words[0]}.log"
        assert prefect("one", *words, log=log).wait(300) == 0, log.read_text()
    logs = {name: tmp_path / f"{name}.log" for name in MACHINES}
    for name, log in logs.items():
        words = ("worker", "start", "--pool", "machines", "--type", "process", "--limit", "1")
        prefect(name, *words, "--name", name, log=log)

    def ask(path: str, **body: object):
        answer = httpx.post(f"{api}{path}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()

    workers = "/work_pools/machines/workers/filter"
    wait_for(lambda: len(ask(workers)) == 2, seconds=180, what="two workers")
    deployment = httpx.get(f"{api}/deployments/name/promote/promote", timeout=60).json()["id"]
    runs = [ask(f"/deployments/{deployment}/create_flow_run")["id"] for _ in MACHINES]

    def ended() -> bool:
        found = ask("/flow_runs/filter", flow_runs={"id": {"any_": runs}})
        return all(run["state_type"] in ("FAILED", "CRASHED", "COMPLETED") for run in found)

    wait_for(ended, seconds=300, what="the end of both runs")
    told = {name: log.read_text() for name, log in logs.items()}
    for name, folder in machines.items():
        assert len([run for run in runs if run in told[name]]) == 1, told
        assert (folder / "mlflow.db").exists()  # `diffutron gate` has looked into its registry
    found = ask("/flow_runs/filter", flow_runs={"id": {"any_": runs}})
    said = {run["state"]["message"].split(";")[0] for run in found}
    assert said == {"gate: no registered model diffutron"}
