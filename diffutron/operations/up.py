"""`diffutron up`: Prefect, MLflow, the deployments and the champion, served until Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from diffutron.operations.guard import GRACE, guarded
from diffutron.runtime.errors import StageFailure, UserError

HOST = "127.0.0.1"
STATE = Path(".prefect")
SERVING = "serving"  # begins the line that `flows.serve` prints once its deployments can be run
MODEL = "models:/diffutron@champion"
START_SECONDS = 300.0  # a busy machine takes a minute or two
SETTINGS = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # Seconds that a write waits for another one; on a busy machine ten, the default, are too few.
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    # A temporary server starts in five seconds; on a busy machine 20, the default, are too few.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
    # In memory, a slot would stay taken for ever when the server restarts during a run.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
        "prefect.server.concurrency.lease_storage.filesystem"
    ),
}


@dataclass(frozen=True)
class Service:
    """A process that `up` keeps: its name, command, environment, and whether it answers."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    ready: Callable[[], bool]
    needed: bool = True  # nothing goes on without it

    @property
    def log(self) -> Path:
        return STATE / "logs" / f"{self.name}.log"


Running = list[tuple[Service, "subprocess.Popen[bytes]"]]


def settings() -> dict[str, str]:
    """Prefect keeps its state in the project and reports to nobody; the environment wins."""
    return {"PREFECT_HOME": str(STATE.resolve()), **SETTINGS, **os.environ}


def up(*, prefect_port: int, mlflow_port: int, serve_port: int) -> None:
    """Start everything, say what to open, and stop everything on Ctrl-C or SIGTERM.

    Without a champion the model server is left out. When that one ends, the others go on.

    Raises:
        UserError: a port is taken.
        StageFailure: a service ended, or did not answer in time.
    """
    check_port(prefect_port, option="--prefect-port")
    check_port(mlflow_port, option="--mlflow-port")
    check_port(serve_port, option="--serve-port")
    with _until_stopped(), ExitStack() as stack:
        running: Running = []

        def start(service: Service) -> Service:
            print(f"starting {service.name} (log: {service.log})", flush=True)
            running.append((service, stack.enter_context(_started(service))))
            return service

        mlflow = start(mlflow_server(mlflow_port))
        prefect = start(prefect_server(prefect_port))
        _wait_for(prefect, running)
        flows = start(deployments(prefect_port=prefect_port, mlflow_port=mlflow_port))
        _wait_for(mlflow, running)
        _wait_for(flows, running)
        told = "has no champion yet; after a promotion: diffutron serve --model " + MODEL
        if has_champion(mlflow_port):
            served = start(model_server(port=serve_port, mlflow_port=mlflow_port))
            answers = _wait_for(served, running)
            told = (
                f"http://{HOST}:{serve_port}/v1"
                if answers
                else f"does not answer; see {served.log}"
            )
        print(_welcome(prefect_port, mlflow_port, model=told), flush=True)
        while True:
            _check(running)
            time.sleep(0.5)


def check_port(port: int, *, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(
                f"port {port} on {HOST} cannot be used ({error.strerror}); "
                f"choose another one with {option}"
            ) from None


def mlflow_server(port: int) -> Service:
    arguments = ["--host", HOST, "--port", str(port), "--workers", "1"]
    arguments += ["--backend-store-uri", "sqlite:///mlflow.db"]
    # Files by path, not through the server: runs and versions stay readable when it is down.
    artifacts = Path("mlartifacts").resolve().as_uri()
    arguments += ["--default-artifact-root", artifacts, "--no-serve-artifacts"]
    return Service(
        "mlflow",
        [sys.executable, "-m", "mlflow", "server", *arguments],
        {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        lambda: _answers(f"http://{HOST}:{port}/health"),
    )


def prefect_server(port: int) -> Service:
    arguments = ["--host", HOST, "--port", str(port)]
    api = f"http://{HOST}:{port}/api"
    return Service(
        "prefect",
        [sys.executable, "-m", "prefect", "server", "start", *arguments],
        {"PREFECT_SERVER_UI_API_URL": "/api", "PREFECT_API_URL": api},
        lambda: _answers(f"{api}/health"),
    )


def deployments(*, prefect_port: int, mlflow_port: int) -> Service:
    return Service(
        "flows",
        [sys.executable, "-m", "flows.serve", "--alone"],
        {
            "PREFECT_API_URL": f"http://{HOST}:{prefect_port}/api",
            "MLFLOW_TRACKING_URI": f"http://{HOST}:{mlflow_port}",
        },
        lambda: any(line.startswith(SERVING) for line in _lines(STATE / "logs" / "flows.log")),
    )


def has_champion(mlflow_port: int) -> bool:
    url = f"http://{HOST}:{mlflow_port}/api/2.0/mlflow/registered-models/alias"
    alias = {"name": "diffutron", "alias": "champion"}
    return httpx.get(url, params=alias, timeout=60).is_success


def model_server(*, port: int, mlflow_port: int) -> Service:
    return Service(
        "serve",
        [sys.executable, "-m", "diffutron", "serve", "--model", MODEL, "--port", str(port)],
        {"MLFLOW_TRACKING_URI": f"http://{HOST}:{mlflow_port}"},
        lambda: _answers(f"http://{HOST}:{port}/ready"),
        needed=False,
    )


@contextmanager
def _until_stopped() -> Iterator[None]:
    """SIGTERM and a closed terminal stop like Ctrl-C; once stopping, nothing interrupts it."""

    def stop(signum: int, _frame: object) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        print("stopping ...", flush=True)
        raise KeyboardInterrupt

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {each: signal.signal(each, stop) for each in signals}
    try:
        yield
    except KeyboardInterrupt:
        print("stopped", flush=True)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _started(service: Service) -> "Iterator[subprocess.Popen[bytes]]":
    service.log.parent.mkdir(parents=True, exist_ok=True)
    with service.log.open("wb") as log:
        process = subprocess.Popen(
            guarded(service.command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**settings(), "PYTHONUNBUFFERED": "1", **service.environment},
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=2 * GRACE + 5)


def _wait_for(service: Service, running: Running) -> bool:
    """Whether it answers. One that must answer raises StageFailure where it does not."""
    deadline = time.monotonic() + START_SECONDS
    while not service.ready():
        _check(running)
        late = time.monotonic() > deadline
        if not service.needed and (late or all(one is not service for one, _ in running)):
            return False
        if late:
            raise StageFailure(
                f"{service.name} did not answer within {START_SECONDS:.0f} s; see {service.log}"
            )
        time.sleep(0.2)
    return True


def _check(running: Running) -> None:
    """Tells of services that have ended, and raises where one was needed."""
    for service, process in [*running]:
        if (code := process.poll()) is not None:
            last = next((line for line in reversed(_lines(service.log)) if line.strip()), "silent")
            told = f"{service.name} ended (exit code {code}): {last.strip()}; see {service.log}"
            if service.needed:
                raise StageFailure(told)
            print(told, flush=True)
            running.remove((service, process))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False


def _welcome(prefect_port: int, mlflow_port: int, *, model: str) -> str:
    return f"""
Prefect   http://{HOST}:{prefect_port}/v2/deployments
          build: Run, then Quick run (params.yaml as it is) or Custom run (profile, stages);
          Runs shows the stages, their logs and, under Artifacts, progress and the report
MLflow    http://{HOST}:{mlflow_port}/#/models/diffutron
          the registered versions, their metrics and the report
Model     {model}
Ctrl-C stops all of it; what was run and registered stays.
"""
