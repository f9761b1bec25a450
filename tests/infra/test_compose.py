"""infra/compose.yaml: valid by the schema of Compose, and every command in it runs as written."""

import subprocess
import sys
from pathlib import Path

import httpx
import mlflow
import pytest

from diffutron.runtime.yaml_files import read_yaml
from tests.support.processes import wait_for

from .services.clone import make_repository
from .services.processes import REPO, answers, as_user, give, running
from .services.team import MLFLOW_LOGIN, PREFECT_LOGIN

pytestmark = pytest.mark.infra
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def test_the_file_is_valid_by_the_schema_of_compose(tmp_path):
    def check(path: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "check_jsonschema"]
        command += ["--builtin-schema", "vendor.compose-spec", str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    good = REPO / "infra/compose.yaml"
    assert check(good).returncode == 0, check(good).stdout
    bad = tmp_path / "compose.yaml"
    bad.write_text(good.read_text(encoding="utf-8").replace("healthcheck:", "health_check:"))
    assert "health_check" in check(bad).stdout


@pytest.mark.parametrize("name", ["postgres", "prefect", "mlflow"])
def test_the_health_check_of_the_file_tells_the_state(team, name):
    assert team.healthy(name)
    port = team.ports[name]
    team.ports[name] = 9  # nobody listens there
    try:
        assert not team.healthy(name)
    finally:
        team.ports[name] = port


@pytest.mark.parametrize("login", [None, ("team", "wrong"), ("admin", "wrong"), ("", "")])
def test_nobody_is_let_in_without_the_password(team, login):
    body = {"flow_runs": {}}
    refused = httpx.post(f"{team.prefect}/flow_runs/filter", json=body, auth=login, timeout=60)
    assert refused.status_code in (401, 403)
    url = f"{team.mlflow}/api/2.0/mlflow/registered-models/search"
    assert httpx.get(url, auth=login, timeout=60).status_code in (401, 403)
    artifacts = f"{team.mlflow}/api/2.0/mlflow-artifacts/artifacts"
    assert httpx.get(artifacts, auth=login, timeout=60).status_code in (401, 403)


def test_the_password_lets_in(team):
    assert team.api("POST", "/flow_runs/filter", limit=1) == []
    url = f"{team.mlflow}/api/2.0/mlflow/registered-models/search"
    assert httpx.get(url, auth=MLFLOW_LOGIN, timeout=60).status_code == 200


def test_a_user_reads_and_changes_what_was_granted(team, monkeypatch):
    """The users of infra/README.md; the admin's model here is one that no other test looks at."""
    from mlflow.server import get_app_client

    def log_in(user: str, password: str) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)

    server, client = get_app_client("basic-auth", team.mlflow), mlflow.MlflowClient(team.mlflow)
    log_in(*MLFLOW_LOGIN)
    client.create_registered_model("granted")
    server.create_user("ayse", "sifre8ayse-uzun")
    log_in("ayse", "sifre8ayse-uzun")
    assert client.get_registered_model("granted").name == "granted"
    with pytest.raises(mlflow.MlflowException, match="Permission denied"):
        client.set_registered_model_tag("granted", "key", "value")
    log_in(*MLFLOW_LOGIN)
    server.grant_user_permission("ayse", "registered_model", "granted", "EDIT")
    log_in("ayse", "sifre8ayse-uzun")
    client.set_registered_model_tag("granted", "key", "value")


def test_the_servers_have_no_privileges(team):
    for name in ("prefect", "mlflow"):
        status = Path(f"/proc/{team.services[name].process.pid}/status").read_text()
        assert "\nUid:\t0" not in status


@pytest.fixture(scope="module")
def machine(team):
    """A training machine after infra/README.md: a clone, the pool, the slot, the deployments."""
    work = make_repository(team.folder / "work")
    give(work)
    inside = [*as_user(), "prefect"]
    user = team.member() | {"HOME": str(team.folder), "PYTHONPATH": str(work)}
    for command in (
        "work-pool create --type process machines",
        "gcl create training --limit 1",
        "--no-prompt deploy --all --prefect-file infra/prefect.yaml",
    ):
        done = subprocess.run(
            [*inside, *command.split()],
            cwd=work,
            env=user,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    worker = team.services["worker"]
    with running(worker):
        worker.wait_until(lambda: team.healthy("worker"))
        yield work


def state(team, run: str) -> str:
    return team.api("GET", f"/flow_runs/{run}")["state"]["type"]


@pytest.mark.timeout(900)
def test_the_worker_builds_and_the_servers_keep_it_over_a_restart(team, machine):
    """A flow run and its state; the worker goes on."""
    deployment = team.api("GET", "/deployments/name/build/build")["id"]

    def trigger() -> str:
        path = f"/deployments/{deployment}/create_flow_run"
        run = team.api("POST", path, parameters={"last": "tokenizer"})["id"]
        wait_for(lambda: state(team, run) in FINAL, seconds=400, what="the end of the run")
        shown = team.api("GET", f"/flow_runs/{run}")["state"]
        assert shown["type"] == "COMPLETED", f"{shown}\n{team.services['worker'].log()}"
        return run

    first = trigger()
    assert read_yaml(machine / "dvc.lock")["stages"].keys() == {"tokenizer"}
    for name in ("prefect", "mlflow"):
        team.services[name].stop()
        assert not answers(getattr(team, name))
    for name in ("prefect", "mlflow"):
        team.services[name].start()
    for name in ("prefect", "mlflow"):
        team.services[name].wait_until(lambda name=name: team.healthy(name))
    assert state(team, first) == "COMPLETED"
    second = trigger()
    assert state(team, second) == "COMPLETED"
    assert PREFECT_LOGIN[1] not in team.services["worker"].log()
