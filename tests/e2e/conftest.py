"""A copy of this project with settings of a minute, served by `diffutron up`, and a browser."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from diffutron.training.hosts import free_port
from tests.support.prefect_api import PrefectApi
from tests.support.processes import wait_for
from tests.support.project import copy_project

START_SECONDS = 300
ENCODER = {
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 2,
    "intermediate_size": 48,
    "local_attention": 16,
}
TRAINING = {"steps": 20, "batch_size": 16, "packed_length": 64, "checkpoint_every": 10}
TRAINING |= {"evaluate_every": 20, "evaluate_samples": 16}
EVALUATION = {
    "max_items": 8,
    "max_items_final": 40,
    "likelihood_rows": 4,
    "nelbo_samples": 2,
    "heldout_documents": 8,
}
EVALUATION |= {"instruction_rows": 8, "traces": 1}
GATE = {"min_tasks": 0, "min_instructions": 0.0, "min_valid_words": 0.0}
GATE |= {"max_bits_per_byte_of_unigram": 100.0}


def tiny_values(repo: Path) -> dict[str, Any]:
    """The demo's values, cut down: every stage runs really, and learns next to nothing."""
    from diffutron.runtime.yaml_files import read_yaml

    values = read_yaml(repo / "infra/profiles/demo.yaml")
    for stage in ("backbone", "pretrain", "instruct_phase1", "instruct_phase2"):
        values[stage]["training"] |= TRAINING
    values["backbone"] |= ENCODER
    values["evaluate"] |= EVALUATION
    values["evaluate"]["perplexity_text"]["documents"] = 4
    values["register"]["gate"] |= GATE
    return values


def write_values(path: Path, values: dict[str, Any]) -> None:
    from ruamel.yaml import YAML

    with path.open("w", encoding="utf-8") as stream:
        YAML().dump(values, stream)


@pytest.fixture(scope="session")
def project(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that git knows, committed anew, with tiny settings."""
    folder = tmp_path_factory.mktemp("e2e") / "project"
    copy_project(folder)
    write_values(folder / "params.yaml", tiny_values(repo))
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for arguments in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "tiny settings"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder


@dataclass
class Servers:
    """Where Prefect and MLflow answer, and the project that they serve."""

    project: Path
    ports: tuple[int, int]
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
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        told = self.project / "up.log"
        with told.open("wb") as log:
            self.process = process = subprocess.Popen(
                command, cwd=self.project, env={**environment, "PATH": path}, stdout=log, stderr=log
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

    def state(self, run: str) -> str:
        return self.api.state(run)["name"]

    def alias(self, name: str) -> str | None:
        """The version that an alias of the registered model points at."""
        answer = httpx.get(
            f"{self.mlflow}/api/2.0/mlflow/registered-models/alias",
            params={"name": "diffutron", "alias": name},
            timeout=60,
        )
        return answer.json()["model_version"]["version"] if answer.status_code == 200 else None


@pytest.fixture(scope="session")
def servers(project: Path) -> Iterator[Servers]:
    """Both servers, until the end of the session."""
    made = Servers(project, (free_port(), free_port()))
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
