"""`diffutron up`: everything starts, a flow is triggered and cancelled, nothing stays behind."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from diffutron.operations import up
from diffutron.runtime.errors import StageFailure, UserError
from diffutron.training.hosts import free_port
from tests.support.prefect_api import PrefectApi
from tests.support.processes import listening, processes_in, wait_for
from tests.support.project import CLONE

OPTIONS = ("--prefect-port", "--mlflow-port", "--serve-port")
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
    (folder / "flows").symlink_to(CLONE / "flows")
    monkeypatch.chdir(folder)
    (folder / ".dvc").mkdir()
    # `dvc init` would leave a process behind that asks for updates.
    (folder / ".dvc" / "config").write_text("[core]\n  no_scm = true\n  check_update = false\n")
    return folder


@pytest.fixture
def ports() -> list[int]:
    return [free_port("127.0.0.1") for _ in OPTIONS]


def start(ports: list[int]) -> "tuple[subprocess.Popen[str], list[str]]":
    """`diffutron up`, once all of it answers; what it said until then."""
    command = [word for pair in zip(OPTIONS, map(str, ports), strict=True) for word in pair]
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
def test_a_day_with_the_servers(project: Path, ports: list[int]):
    """Start, run, cancel; kill the server in a run, start again, run, stop."""
    api = PrefectApi(f"http://127.0.0.1:{ports[0]}/api")

    def hanging_run() -> str:
        run = api.run("build")
        api.wait_for_log(run, "hanging")
        return run

    running, said = start(ports)
    try:
        assert any(f"http://127.0.0.1:{ports[0]}/v2/deployments" in line for line in said), said
        assert any(line.startswith("Model     has no champion yet") for line in said), said
        assert httpx.get(f"http://127.0.0.1:{ports[1]}/", timeout=60).status_code == 200
        assert {*api.deployments()} == {
            "build", "evaluate", "leaderboard", "tune", "sweep", "promote",
        }  # fmt: skip
        run = hanging_run()
        with_stage = len(processes_in(project))
        api.cancel(run)
        wait_for(lambda: api.state(run)["type"] == "CANCELLED", seconds=150, what="the end")
        # Guard, dvc, shell and stage, at least; the servers go on.
        assert len(processes_in(project)) <= with_stage - 4
        assert running.poll() is None

        lost = hanging_run()
        listening(ports[0]).kill()
    except BaseException:
        running.send_signal(signal.SIGINT)
        ended(running)
        raise
    rest = ended(running)
    assert running.returncode == 1
    assert [line for line in rest.splitlines() if line.startswith("error: prefect ended")], rest
    assert processes_in(project) == []

    running, _ = start(ports)
    try:
        assert api.state(lost)["type"] == "CRASHED"
        assert {state["type"] for state in api.tasks(lost).values()} <= {"CRASHED", "COMPLETED"}
        # The slot of the lost run was given back: nobody waits for it.
        assert "waiting for the training slot" not in api.logs(hanging_run())
    finally:
        running.send_signal(signal.SIGINT)
        rest = ended(running)
    assert running.returncode == 0, rest
    assert rest.endswith("stopping ...\nstopped\n")
    assert processes_in(project) == []
    kept = {path.name for path in Path().iterdir()}
    assert kept - {"mlartifacts"} == {".dvc", "dvc.yaml", "flows", ".prefect", "mlflow.db"}


def ended(running: "subprocess.Popen[str]") -> str:
    """What it says until its end; it is killed where that does not come."""
    try:
        return running.communicate(timeout=90)[0]
    finally:
        running.kill()


@pytest.mark.parametrize(("position", "option"), [*enumerate(OPTIONS)])
def test_a_taken_port_is_named_with_its_option(project, ports, position, option):
    named = pytest.raises(UserError, match=f"port {ports[position]} .* another one with {option}")
    with socket.create_server(("127.0.0.1", ports[position])), named:
        up.up(prefect_port=ports[0], mlflow_port=ports[1], serve_port=ports[2])


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
        up.up(prefect_port=ports[0], mlflow_port=ports[1], serve_port=ports[2])
    assert processes_in(project) == []


def test_the_others_go_on_without_the_model_server(project, ports, monkeypatch, capfd):
    waits = "import time; time.sleep(600)"
    for name in ("mlflow_server", "prefect_server", "deployments"):
        monkeypatch.setattr(up, name, lambda *_, **__: service("other", waits, ready=True))
    ends = [sys.executable, "-c", "import sys; sys.exit('no memory')"]
    broken = up.Service("serve", ends, {}, lambda: False, needed=False)
    monkeypatch.setattr(up, "model_server", lambda **_: broken)
    monkeypatch.setattr(up, "has_champion", lambda port: True)
    told = []

    def welcome(*_: int, model: str) -> str:
        told.append(model)
        signal.raise_signal(signal.SIGINT)
        return ""

    monkeypatch.setattr(up, "_welcome", welcome)
    up.up(prefect_port=ports[0], mlflow_port=ports[1], serve_port=ports[2])
    said = capfd.readouterr().out
    assert "serve ended (exit code 1): no memory; see .prefect/logs/serve.log" in said
    assert told == ["does not answer; see .prefect/logs/serve.log"]
    assert processes_in(project) == []


def test_a_service_that_never_answers_is_given_up(project, ports, monkeypatch):
    monkeypatch.setattr(up, "START_SECONDS", 0.1)
    waits = "import time; time.sleep(600)"
    for name in ("mlflow_server", "prefect_server"):
        monkeypatch.setattr(up, name, lambda port: service("deaf", waits, ready=False))
    with pytest.raises(StageFailure, match="deaf did not answer within 0 s; see"):
        up.up(prefect_port=ports[0], mlflow_port=ports[1], serve_port=ports[2])
    assert processes_in(project) == []


def test_an_address_answers_or_not(ports):
    assert not up._answers(f"http://127.0.0.1:{ports[0]}/")


def test_the_environment_of_the_user_wins(monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", "/elsewhere")
    assert up.settings()["PREFECT_HOME"] == "/elsewhere"
    monkeypatch.delenv("PREFECT_HOME")
    assert up.settings()["PREFECT_HOME"] == str(Path(".prefect").resolve())
