"""`diffutron up`: everything starts, a flow is triggered and cancelled, nothing stays behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from diffutron.operations import up
from diffutron.runtime.errors import StageFailure, UserError
from diffutron.training.hosts import free_port

PIPELINE = """
stages:
  tokenizer:
    cmd: python -uc "import time; print('hanging'); time.sleep(600)"
    outs: [data/tokenizer]
  register:
    cmd: python -c ""
    deps: [data/tokenizer]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose only stage hangs; the current folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "dvc.yaml").write_text(PIPELINE)
    monkeypatch.chdir(folder)
    (folder / ".dvc").mkdir()
    # `dvc init` would leave a process behind that asks for updates.
    (folder / ".dvc" / "config").write_text("[core]\n  no_scm = true\n  check_update = false\n")
    return folder


@pytest.fixture
def ports() -> list[int]:
    return [free_port("127.0.0.1"), free_port("127.0.0.1")]


def working_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cwd", "status"]):
        at_work = process.info["status"] != psutil.STATUS_ZOMBIE
        if at_work and process.info["cwd"] == str(folder) and process.pid != os.getpid():
            found.append(process)
    return found


class Api:
    """The few calls of the Prefect server that a person makes by clicking."""

    def __init__(self, port: int):
        self.url = f"http://127.0.0.1:{port}/api"

    def post(self, path: str, body: dict) -> object:
        request = urllib.request.Request(
            f"{self.url}{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def deployments(self) -> dict[str, str]:
        found = self.post("/deployments/filter", {})
        assert isinstance(found, list)
        return {each["name"]: each["id"] for each in found}

    def run(self, deployment: str) -> str:
        created = self.post(
            f"/deployments/{deployment}/create_flow_run", {"state": {"type": "SCHEDULED"}}
        )
        assert isinstance(created, dict)
        return created["id"]

    def cancel(self, run: str) -> None:
        self.post(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})

    def wait_for_state(self, run: str, name: str) -> None:
        wait_for(lambda: self.state(run) == name, f"state {name}")

    def state(self, run: str) -> str:
        with urllib.request.urlopen(f"{self.url}/flow_runs/{run}", timeout=60) as answer:
            return json.load(answer)["state"]["type"]

    def tasks(self, run: str) -> list[dict]:
        found = self.post("/task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        assert isinstance(found, list)
        return found

    def logs(self, run: str) -> list[str]:
        found = self.post("/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}})
        assert isinstance(found, list)
        return [each["message"] for each in found]


def wait_for(holds, what: str, seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"no {what} within {seconds} s"
        time.sleep(0.2)


def start(ports: list[int]) -> "tuple[subprocess.Popen[str], list[str]]":
    """`diffutron up`, once all of it answers; what it said until then."""
    command = ["--prefect-port", str(ports[0]), "--mlflow-port", str(ports[1])]
    running = subprocess.Popen(
        [sys.executable, "-m", "diffutron", "up", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert running.stdout is not None
    said = []
    for line in running.stdout:
        said.append(line)
        if line.startswith("Ctrl-C"):
            break
    return running, said


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_start_trigger_cancel_stop(project: Path, ports: list[int]):
    running, said = start(ports)
    try:
        assert any(f"http://127.0.0.1:{ports[0]}/v2/deployments" in line for line in said), said
        with urllib.request.urlopen(f"http://127.0.0.1:{ports[1]}/", timeout=60) as page:
            assert page.status == 200

        api = Api(ports[0])
        deployments = api.deployments()
        assert {*deployments} == {"build", "evaluate", "leaderboard", "promote"}
        run = api.run(deployments["build"])
        wait_for(lambda: "hanging" in api.logs(run), "log line of the stage")
        with_stage = len(working_in(project))
        api.cancel(run)
        api.wait_for_state(run, "CANCELLED")
        # Guard, dvc, shell and stage, at least; the servers go on.
        assert len(working_in(project)) <= with_stage - 4
        assert running.poll() is None
    finally:
        running.send_signal(signal.SIGINT)
        rest, _ = running.communicate(timeout=90)
    assert running.returncode == 0, rest
    assert rest.endswith("stopping ...\nstopped\n")
    assert working_in(project) == []
    kept = {path.name for path in Path().iterdir()}
    assert kept - {"mlartifacts"} == {".dvc", "dvc.yaml", ".prefect", "mlflow.db"}


def server(ports: list[int]) -> psutil.Process:
    """The process that listens for Prefect."""
    for one in psutil.net_connections("tcp"):
        if one.status == "LISTEN" and one.laddr[1] == ports[0]:
            return psutil.Process(one.pid)
    raise AssertionError(f"nobody listens on {ports[0]}")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_after_the_server_was_killed_the_next_run_starts(project: Path, ports: list[int]):
    """The run that was at work is called crashed, and its slot is free within 90 seconds."""
    running, _ = start(ports)
    api = Api(ports[0])
    lost = api.run(api.deployments()["build"])
    wait_for(lambda: "hanging" in api.logs(lost), "log line of the stage")
    server(ports).kill()
    rest, _ = running.communicate(timeout=90)
    assert running.returncode == 1
    assert [line for line in rest.splitlines() if line.startswith("error: prefect ended")], rest
    assert working_in(project) == []

    running, _ = start(ports)
    try:
        assert api.state(lost) == "CRASHED"
        assert {task["state"]["type"] for task in api.tasks(lost)} <= {"CRASHED", "COMPLETED"}
        run = api.run(api.deployments()["build"])
        wait_for(lambda: "hanging" in api.logs(run), "start of the next run", seconds=90)
    finally:
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=90)
    assert running.returncode == 0
    assert working_in(project) == []


@pytest.mark.parametrize(("position", "option"), [(0, "--prefect-port"), (1, "--mlflow-port")])
def test_a_taken_port_is_named_with_its_option(project, ports, position, option):
    named = pytest.raises(UserError, match=f"port {ports[position]} .* another one with {option}")
    with socket.create_server(("127.0.0.1", ports[position])), named:
        up.up(prefect_port=ports[0], mlflow_port=ports[1])


def test_a_folder_without_a_pipeline_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no dvc.yaml here"):
        up.up(prefect_port=1, mlflow_port=2)


def service(name: str, code: str, *, ready: bool) -> up.Service:
    return up.Service(name, [sys.executable, "-c", code], {}, lambda: ready)


def test_a_service_that_ends_is_named_with_its_last_words(project, ports, monkeypatch):
    """The others are stopped: nothing goes on working in the folder."""
    broken = "import sys; print('so far so good'); sys.exit('no such database')"
    monkeypatch.setattr(up, "mlflow_server", lambda port: service("mlflow", broken, ready=False))
    waits = "import time; time.sleep(600)"
    for name in ("prefect_server", "deployments"):
        monkeypatch.setattr(up, name, lambda *_, **__: service("other", waits, ready=True))
    with pytest.raises(StageFailure, match=r"mlflow ended \(exit code 1\): no such database; see"):
        up.up(prefect_port=ports[0], mlflow_port=ports[1])
    assert working_in(project) == []


def test_a_service_that_never_answers_is_given_up(project, ports, monkeypatch):
    monkeypatch.setattr(up, "START_SECONDS", 0.1)
    waits = "import time; time.sleep(600)"
    for name in ("mlflow_server", "prefect_server"):
        monkeypatch.setattr(up, name, lambda port: service("deaf", waits, ready=False))
    with pytest.raises(StageFailure, match="deaf did not answer within 0 s; see"):
        up.up(prefect_port=ports[0], mlflow_port=ports[1])
    assert working_in(project) == []


def test_an_address_answers_or_not(ports):
    assert not up._answers(f"http://127.0.0.1:{ports[0]}/")


def test_the_environment_of_the_user_wins(monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", "/elsewhere")
    assert up.settings()["PREFECT_HOME"] == "/elsewhere"
    monkeypatch.delenv("PREFECT_HOME")
    assert up.settings()["PREFECT_HOME"] == str(Path(".prefect").resolve())
