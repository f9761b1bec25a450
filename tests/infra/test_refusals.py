"""Wrong passwords, no bucket, servers that are down: one line, exit 2, and nothing has moved."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from diffutron.cli.app import main
from diffutron.training.hosts import free_port
from tests.support.project import copy_project

from ..registry.conftest import good_summary, write_build
from .services.processes import REPO, Service, own_path, running
from .services.team import MLFLOW_LOGIN

pytestmark = pytest.mark.infra


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """`call(environment, "history")` in this process and an empty folder: (exit code, error)."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("AWS_", "MLFLOW_"))]:
        monkeypatch.delenv(name)

    def run(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["diffutron", *arguments])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        told = capsys.readouterr().err
        assert "Traceback" not in told
        errors = [line for line in told.splitlines() if line.startswith("error: ")]
        assert len(errors) == (code != 0), told
        return code, errors[0] if errors else ""

    return run


def register_options(folder: Path, model: Path) -> list[str]:
    """Parameters here, a build in `folder`, and the options by which `register` finds it."""
    build = write_build(folder, good_summary(), model)
    shutil.copyfile(REPO / "infra/profiles/demo.yaml", "params.yaml")
    return [
        part for name, path in build.items() for part in (f"--{name.replace('_', '-')}", str(path))
    ]


def test_a_wrong_password_of_the_database(call, postgres):
    address = postgres.address("postgres", "postgresql+psycopg2", password="wrong9")
    for arguments in (
        ["history"],
        ["rollback"],
        ["promote", "1", "--by", "kurul", "--reason", "none"],
        ["generate", "--model", "models:/diffutron@champion", "Merhaba"],
    ):
        code, told = call({"MLFLOW_TRACKING_URI": address}, *arguments)
        assert code == 2
        assert "user or password refused; correct them in MLFLOW_TRACKING_URI" in told
        assert "wrong9" not in told


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg2"])
def test_a_database_that_is_down(call, scheme):
    address = f"{scheme}://diffutron:sifre@127.0.0.1:9/mlflow"
    code, told = call({"MLFLOW_TRACKING_URI": address}, "history")
    assert code == 2
    assert "no answer; start the server" in told or "the driver psycopg is not installed" in told


def test_a_wrong_password_of_the_server(call, team):
    user, _ = MLFLOW_LOGIN
    refused = {"MLFLOW_TRACKING_URI": team.mlflow, "MLFLOW_TRACKING_USERNAME": user}
    refused["MLFLOW_TRACKING_PASSWORD"] = "wrong"
    for arguments in (
        ["history"],
        ["gate", "1"],
        ["promote", "1", "--by", "kurul", "--reason", "none"],
        ["export", "1", "--to", "out"],
        ["generate", "--model", "models:/diffutron@champion", "Merhaba"],
    ):
        code, told = call(refused, *arguments)
        assert code == 2
        assert "user or password refused; set MLFLOW_TRACKING_USERNAME" in told
    assert not Path("out").exists()


def test_a_prefect_that_refuses(team, tmp_path):
    environment = team.member() | {"PREFECT_API_AUTH_STRING": "team:wrong"}
    copy_project(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "diffutron", "build"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    wanted = f"error: Prefect at {team.prefect} answers 401; set PREFECT_API_AUTH_STRING="
    assert done.stderr.startswith(wanted)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("case", "wanted"),
    [
        ("no bucket", "S3 has no such bucket; make it first"),
        ("wrong secret", "S3 refuses the key; set AWS_ACCESS_KEY_ID"),
        ("down", "S3 does not answer; correct MLFLOW_S3_ENDPOINT_URL"),
    ],
)
def test_a_version_is_not_registered_without_its_files(
    call, swift, moto, tiny_model_dir, tmp_path, case, wanted
):
    """Clients that write to S3 themselves: the run fails, no version is made."""
    server = {"no bucket": moto, "wrong secret": swift, "down": moto}[case]
    environment = server.environment(secret="wrong")
    if case == "down":
        environment["MLFLOW_S3_ENDPOINT_URL"] = "http://127.0.0.1:9"
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = mlflow.MlflowClient(uri, uri)
    experiment = client.create_experiment("diffutron", artifact_location="s3://missing/mlflow")
    options = register_options(tmp_path / "build", tiny_model_dir)
    code, told = call(environment | {"MLFLOW_TRACKING_URI": uri}, "register", *options)
    assert code == 2
    assert wanted in told
    assert client.search_registered_models() == []
    assert [run.info.status for run in client.search_runs([experiment])] == ["FAILED"]
    assert not (tmp_path / "build/registry").exists()


def test_a_server_whose_bucket_is_missing(call, moto, tiny_model_dir, tmp_path):
    """The server writes to S3, as in compose.yaml: the client is told where to look."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db"]
    command += ["--artifacts-destination", "s3://missing/mlflow"]
    environment = {**os.environ, **moto.environment(), "PATH": own_path()}
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    server = Service("mlflow", command, environment, tmp_path)
    uri = f"http://127.0.0.1:{port}"
    with running(server):
        server.wait_for_answer(f"{uri}/health")
        options = register_options(tmp_path / "build", tiny_model_dir)
        code, told = call({"MLFLOW_TRACKING_URI": uri}, "register", *options)
        assert code == 2
        assert "the server failed and its log says why" in told
        client = mlflow.MlflowClient(uri, uri)
        assert client.search_registered_models() == []
    assert "NoSuchBucket" in server.log()
