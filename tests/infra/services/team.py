"""The servers of infra/compose.yaml, each by its own command, on this machine without containers.

Variables are filled in as compose does; the addresses and folders of the containers become free
ports on loopback and folders of a user without privileges.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from diffutron.training.hosts import free_port
from tests.support.http import client

from .postgres import PASSWORD, Postgres
from .processes import REPO, Service, as_user, give, own_path, running, scratch
from .s3 import S3

BUCKET = "models"
PREFECT_LOGIN = ("team", "sifre8prefect")
MLFLOW_LOGIN = ("admin", "sifre8mlflow-admin")
API_KEY = "sifre8model"
CONTAINERS = {"postgres": 5432, "prefect": 4200, "mlflow": 5000, "worker": 8080, "serve": 8400}
KEPT = ("HOME", "LANG", "OMP_NUM_THREADS")


def fill_in(text: str, variables: dict[str, str]) -> str:
    """`${NAME:?}` and `${NAME:-default}`, as compose reads them."""

    def value(found: re.Match[str]) -> str:
        name, default = found.group(1), found.group(2)
        assert name in variables or default is not None, f"infra/.env needs {name}"
        return variables.get(name) or default

    return re.sub(r"\$\{(\w+):(?:\?|-([^}]*))\}", value, text)


@dataclass
class Team:
    """The composed services, and where each of them answers here."""

    folder: Path
    postgres: Postgres
    s3: S3
    ports: dict[str, int]
    services: dict[str, Service] = field(default_factory=dict)

    @property
    def prefect(self) -> str:
        return f"http://127.0.0.1:{self.ports['prefect']}/api"

    @property
    def mlflow(self) -> str:
        return f"http://127.0.0.1:{self.ports['mlflow']}"

    def api(self, method: str, path: str, **body: Any) -> Any:
        """Ask Prefect, with the password of the team."""
        url = f"{self.prefect}{path}"
        answer = client().request(method, url, json=body or None, auth=PREFECT_LOGIN)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def member(self) -> dict[str, str]:
        """What a member of the team sets, after infra/README.md; and the keys of S3 for DVC."""
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))},
            "PATH": own_path(),
            "DO_NOT_TRACK": "true",
            "PREFECT_API_URL": self.prefect,
            "PREFECT_API_AUTH_STRING": ":".join(PREFECT_LOGIN),
            "PREFECT_HOME": str(self.folder / "member"),
            "MLFLOW_TRACKING_URI": self.mlflow,
            "MLFLOW_TRACKING_USERNAME": MLFLOW_LOGIN[0],
            "MLFLOW_TRACKING_PASSWORD": MLFLOW_LOGIN[1],
            **self.s3.environment(),
        }

    def healthy(self, name: str) -> bool:
        """Run the health check of a service as it stands in the file."""
        _, *check = self.composed()["services"][name]["healthcheck"]["test"]
        if name == "postgres":
            check += ["-h", "127.0.0.1", "-p", str(self.ports[name])]
        answer = subprocess.run(
            check, env=self._environment({}), capture_output=True, timeout=30, check=False
        )
        return answer.returncode == 0

    def composed(self) -> dict[str, Any]:
        """infra/compose.yaml with the variables of infra/.env, and the addresses of here."""
        variables = {
            "POSTGRES_PASSWORD": PASSWORD,
            "PREFECT_AUTH": ":".join(PREFECT_LOGIN),
            "MLFLOW_ADMIN_PASSWORD": MLFLOW_LOGIN[1],
            "MLFLOW_SECRET_KEY": "0f" * 32,
            "MLFLOW_HOSTS": f"127.0.0.1:{self.ports['mlflow']}",
            "ARTIFACTS": f"s3://{BUCKET}/mlflow",
            "S3_ENDPOINT": self.s3.endpoint,
            "DIFFUTRON_API_KEY": API_KEY,
            "AWS_ACCESS_KEY_ID": self.s3.key,
            "AWS_SECRET_ACCESS_KEY": self.s3.secret,
        }
        text = fill_in((REPO / "infra/compose.yaml").read_text(encoding="utf-8"), variables)
        return yaml.safe_load(self._here(text))

    def _here(self, text: str) -> str:
        """Hosts, ports and folders of the containers -> those of this machine."""
        for name, port in CONTAINERS.items():
            for host in (name, "127.0.0.1"):
                text = text.replace(f"{host}:{port}", f"127.0.0.1:{self.ports[name]}")
            text = text.replace(f"--port {port}", f"--port {self.ports[name]}")
            text = text.replace(f"PORT: {port}", f"PORT: {self.ports[name]}")
        text = text.replace("--host 0.0.0.0", "--host 127.0.0.1")
        text = text.replace("/var/lib/", f"{self.folder}/")
        text = text.replace("/opt/diffutron/infra", str(self.folder))
        return re.sub(r"(DIFFUTRON_HOME|working_dir): /work", rf"\1: {self.folder}/work", text)

    def _environment(self, own: dict[str, Any]) -> dict[str, str]:
        """Nothing of ours but the programs and the settings of the image."""
        image = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
        image |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PYTHONUNBUFFERED": "1"}
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        kept |= {"HOME": str(self.folder), "TMPDIR": str(self.folder / "tmp")}
        return {**kept, **image, "PATH": own_path(), **{k: str(v) for k, v in own.items()}}

    def make(self, name: str) -> Service:
        service = self.composed()["services"][name]
        command = [*as_user(), *shlex.split(service["command"])]
        return Service(name, command, self._environment(service["environment"]), self.folder)


@pytest.fixture(scope="session")
def team(postgres: Postgres, swift: S3) -> Iterator[Team]:
    """Postgres, Prefect and MLflow of a team, with its bucket; the other two have not started."""
    swift.client().create_bucket(Bucket=BUCKET)
    with _team(postgres, swift) as made, running(made.services["prefect"], made.services["mlflow"]):
        for name in ("prefect", "mlflow"):
            made.services[name].wait_until(lambda name=name: made.healthy(name))
        yield made


@contextmanager
def _team(postgres: Postgres, s3: S3) -> Iterator[Team]:
    with scratch("team") as folder:
        ports = {name: free_port() for name in CONTAINERS} | {"postgres": postgres.port}
        made = Team(folder, postgres, s3, ports)
        postgres.execute("CREATE DATABASE prefect")  # the image makes the one of POSTGRES_DB
        composed = made.composed()
        postgres.execute(composed["configs"]["databases"]["content"])
        users = (REPO / "infra/mlflow_auth.ini").read_text(encoding="utf-8")
        (folder / "mlflow_auth.ini").write_text(made._here(users), encoding="utf-8")
        for name in ("prefect", "mlflow", "member", "work", "tmp"):
            (folder / name).mkdir()
        give(folder)
        made.services = {name: made.make(name) for name in CONTAINERS if name != "postgres"}
        yield made
