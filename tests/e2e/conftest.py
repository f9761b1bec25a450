"""A copy of this project with the published settings scaled down, a hub on loopback that holds what
they name, `diffutron up`, and a browser."""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from diffutron.training.hosts import free_port
from tests.support.fake_hub import serve
from tests.support.http import client
from tests.support.prefect_api import PrefectApi
from tests.support.processes import wait_for
from tests.support.project import copy_project
from tests.support.published_hub import SCALED, write_published

START_SECONDS = 300
TOKEN, AWS_SECRET = f"hf_{secrets.token_hex(16)}", secrets.token_hex(20)  # in no file of ours


def write_values(path: Path, values: dict[str, Any]) -> None:
    from ruamel.yaml import YAML

    with path.open("w", encoding="utf-8") as stream:
        YAML().dump(values, stream)


@pytest.fixture(scope="session")
def hub_environment(
    tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """What leads every program to a hub on loopback, with all that profile `paper` names."""
    folder = tmp_path_factory.mktemp("hub")
    write_published(folder / "hub", tiny_model_dir)
    gated = folder / "hub/datasets/turkish-nlp-suite/InstrucTurca.json"
    gated.write_text(json.dumps({"gated": True, "access": [TOKEN]}))
    with serve(folder / "hub") as hub:
        yield {
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(folder / "cache"),
            "HF_TOKEN": TOKEN,
            "AWS_SECRET_ACCESS_KEY": AWS_SECRET,
            "HF_HUB_OFFLINE": "0",
            "HF_DATASETS_OFFLINE": "0",
            "DIFFUTRON_TRACKING": "on",
        }


@pytest.fixture(scope="session")
def project(hub_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that git knows, committed anew, with the published settings scaled down."""
    folder = tmp_path_factory.mktemp("e2e") / "project"
    copy_project(folder)
    command = [sys.executable, "-m", "diffutron", "params", "--profile", "paper"]
    command += [word for override in SCALED for word in ("-S", override)]
    subprocess.run(command, cwd=folder, env=os.environ | hub_environment, check=True)
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for arguments in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "scaled down"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder


@dataclass
class Servers:
    """Where Prefect and MLflow answer, and the project that they serve."""

    project: Path
    ports: tuple[int, int, int]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def prefect(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def mlflow(self) -> str:
        return f"http://127.0.0.1:{self.ports[1]}"

    def start(self) -> None:
        """`diffutron up` as a user starts it."""
        command = [sys.executable, "-m", "diffutron", "up"]
        command += ["--prefect-port", str(self.ports[0]), "--mlflow-port", str(self.ports[1])]
        command += ["--serve-port", str(self.ports[2])]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        told = self.project / "up.log"
        with told.open("wb") as log:
            self.process = process = subprocess.Popen(
                command,
                cwd=self.project,
                env=environment | self.environment | {"PATH": path},
                stdout=log,
                stderr=log,
            )

        def answers() -> bool:
            assert process.poll() is None, told.read_text()
            return "Ctrl-C stops" in told.read_text()

        wait_for(answers, seconds=START_SECONDS, what="`diffutron up`")

    def stop(self) -> None:
        """Ctrl-C."""
        if self.process:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=60)

    @property
    def api(self) -> PrefectApi:
        return PrefectApi(f"{self.prefect}/api")

    def newest_run(self, deployment: str) -> dict[str, Any]:
        found = self.api.call(
            "POST",
            "/flow_runs/filter",
            flow_runs={"deployment_id": {"any_": [self.api.deployments()[deployment]]}},
            sort="EXPECTED_START_TIME_DESC",
            limit=1,
        )
        return found[0] if found else {}

    def builds(self) -> list[dict[str, Any]]:
        """The runs of builds in MLflow, the newest first: tags, status, stages by name."""
        answer = client().post(
            f"{self.mlflow}/api/2.0/mlflow/runs/search",
            json={"experiment_ids": ["1"], "order_by": ["attributes.start_time DESC"]},
        )
        runs = []
        for one in answer.json().get("runs", []):
            tags = {tag["key"]: tag["value"] for tag in one["data"]["tags"]}
            measured = {each["key"]: each["value"] for each in one["data"].get("metrics", [])}
            runs.append({**one["info"], "tags": tags, "metrics": measured})
        stages: dict[str, dict[str, Any]] = {}
        for one in runs:
            if parent := one["tags"].get("mlflow.parentRunId"):
                stages.setdefault(parent, {})[one["tags"]["stage"]] = one
        return [
            {**one, "stages": stages.get(one["run_id"], {})}
            for one in runs
            if "mlflow.parentRunId" not in one["tags"]
        ]

    def state(self, run: str) -> str:
        return self.api.state(run)["name"]

    def alias(self, name: str) -> str | None:
        """The version that an alias of the registered model points at."""
        answer = client().get(
            f"{self.mlflow}/api/2.0/mlflow/registered-models/alias",
            params={"name": "diffutron", "alias": name},
        )
        return answer.json()["model_version"]["version"] if answer.status_code == 200 else None


@pytest.fixture(scope="session")
def servers(project: Path, hub_environment: dict[str, str]) -> Iterator[Servers]:
    """Both servers, until the end of the session."""
    made = Servers(project, (free_port(), free_port(), free_port()), hub_environment)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def page() -> Iterator[Any]:
    """A page of Debian's Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
            + ["--disable-background-networking", "--disable-component-update", "--disable-sync"],
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        yield page
        browser.close()
