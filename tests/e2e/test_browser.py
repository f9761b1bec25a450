"""What a person does in the browser: build, watch, cancel, approve. The APIs tell the state."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from diffutron.config.params import STAGES
from diffutron.runtime.yaml_files import read_yaml
from tests.support.processes import processes_in, wait_for

from .conftest import AWS_SECRET, TOKEN, Servers, write_values

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
BUILD_SECONDS = 1500


@pytest.fixture(scope="session")
def pictures(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: docs/img when DIFFUTRON_PICTURES says so, else a temporary folder."""
    import os

    return Path(os.environ.get("DIFFUTRON_PICTURES") or tmp_path_factory.mktemp("pictures"))


def submit(page: Any, servers: Servers, deployment: str, *, picture: Path | None = None) -> str:
    """Fill nothing in and submit the form of *Custom run*; the id of the run."""
    before = servers.newest_run(deployment).get("id")
    page.goto(
        f"{servers.prefect}/v2/deployments/deployment/{servers.api.deployments()[deployment]}"
    )
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    page.get_by_role("button", name="Submit").wait_for()
    page.get_by_text("Enforce Parameter Schema").wait_for()
    if picture:
        page.get_by_text("Settings to build with").first.wait_for()  # the form comes last
        page.get_by_text("instruct_phase2.training.steps").first.wait_for()  # a typed field
        page.screenshot(path=picture, full_page=True)
    page.get_by_role("button", name="Submit").click()

    def started() -> str | None:
        newest = servers.newest_run(deployment).get("id")
        return newest if newest != before else None

    run = wait_for(started, seconds=60, what="the run of the form")
    page.goto("about:blank")  # the page of a run moves all the time
    return run


def choose(page: Any, servers: Servers, run: str, item: str) -> None:
    """An entry of the menu of a run."""
    page.goto(f"{servers.prefect}/v2/runs/flow-run/{run}")
    page.get_by_role("button", name="Open menu").first.click()
    page.get_by_role("menuitem", name=item, exact=True).click()


def test_a_build_is_triggered_from_the_form_and_watched(page, servers, pictures):
    run = submit(page, servers, "build", picture=pictures / "build-form.png")
    wait_for(
        lambda: servers.api.tasks(run).get("pretrain", {}).get("name") == "Running",
        seconds=BUILD_SECONDS,
        what="the stage pretrain",
    )
    page.goto(f"{servers.prefect}/v2/runs/flow-run/{run}")
    page.get_by_role("tab", name="Task Runs").click()
    page.get_by_text("pretrain", exact=True).first.wait_for()
    page.screenshot(path=pictures / "build-run.png")
    page.goto("about:blank")
    seen = wait_for(
        lambda: (now := servers.builds()[0]["stages"].get("pretrain", {})).get("metrics") and now,
        seconds=120,
        what="the curve of pretrain in MLflow",
    )
    assert seen["status"] == "RUNNING" or seen["metrics"]["loss"]  # two steps, it may have ended
    final = ("Registered v1", "NotRegistered", "Failed", "Crashed", "Cancelled")
    state = wait_for(
        lambda: (now := servers.state(run)) in final and now,
        seconds=BUILD_SECONDS,
        what="the end of the build",
    )
    assert state == "Registered v1", servers.api.artifacts(run)
    names = {task: state["name"] for task, state in servers.api.tasks(run).items()}
    assert names == dict.fromkeys(STAGES, "Completed")
    shown = servers.api.artifacts(run)
    assert {"plan", "progress", "report", "report-page", "mlflow-run"} <= shown.keys()
    assert "| pretrain | pretrain will run again: it has not run here yet. |" in shown["plan"]
    (build,) = servers.builds()
    assert f"/runs/{build['run_id']})" in shown["mlflow-run"]
    assert servers.mlflow in shown["mlflow-run"]
    assert build["status"] == "FINISHED"
    assert build["tags"]["prefect_flow_run"] == run
    assert {*build["stages"]} == {*STAGES} - {"report", "register"}
    assert {one["status"] for one in build["stages"].values()} == {"FINISHED"}
    assert seen["run_id"] == build["stages"]["pretrain"]["run_id"]
    assert {"loss", "eval_loss", "tokens_per_s"} <= build["stages"]["pretrain"]["metrics"].keys()
    assert servers.alias("challenger") == "1"
    report = (servers.project / "report/report.md").read_text(encoding="utf-8")
    values = read_yaml(servers.project / "params.yaml")
    for part in ("tokenizer", "backbone"):  # the commits that `diffutron params` has written
        assert f"mmBERT-base @ main ({values[part]['commit'][:12]})" in report


def test_no_secret_is_written_anywhere(servers):
    """Of a build that needed the token: parameters, logs, results, both servers' stores."""
    files = [path for path in servers.project.rglob("*") if path.is_file()]
    assert {"up.log", "mlflow.db", "params.yaml"} <= {path.name for path in files}
    for path in files:
        content = b""
        with suppress(FileNotFoundError):  # a server has removed it since
            content = path.read_bytes()
        for secret in (TOKEN, AWS_SECRET):
            assert secret.encode() not in content, path


def test_a_cancelled_build_leaves_no_process(page, servers):
    params = servers.project / "params.yaml"
    before = params.read_text(encoding="utf-8")
    values = read_yaml(params)
    values["pretrain"]["training"]["steps"] = 100_000
    write_values(params, values)
    try:
        run = submit(page, servers, "build")
        wait_for(lambda: ranks(servers.project), seconds=600, what="ranks of pretrain")
        wait_for(
            lambda: servers.builds()[0]["stages"].get("pretrain", {}).get("status") == "RUNNING",
            seconds=120,
            what="pretrain in MLflow",
        )
        choose(page, servers, run, "Cancel")
        page.get_by_role("alertdialog").get_by_role("button", name="Cancel Flow Run").click()
        wait_for(lambda: servers.state(run) == "Cancelled", seconds=120, what="CANCELLED")
        wait_for(lambda: not ranks(servers.project), seconds=30, what="the end of the ranks")
        wait_for(lambda: killed(servers), seconds=60, what="the end of both runs in MLflow")
    finally:
        params.write_text(before, encoding="utf-8")
    assert (servers.project / "models/adapter/adapter_model.safetensors").exists()


def killed(servers: Servers) -> bool:
    """Whether the last build and its stage pretrain are cut off, as MLflow has them."""
    build = servers.builds()[0]
    return build["status"] == build["stages"].get("pretrain", {}).get("status") == "KILLED"


def ranks(project: Path) -> list[psutil.Process]:
    """Processes of the stage pretrain in the project."""
    return [one for one in processes_in(project) if "pretrain" in one.cmdline()]


def test_a_promotion_is_approved_in_the_form(page, servers, pictures):
    run = submit(page, servers, "promote")
    wait_for(lambda: servers.state(run) == "Paused", seconds=600, what="the pause")
    assert servers.alias("champion") is None
    choose(page, servers, run, "Resume")
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Make version 1").wait_for()
    dialog.locator("button", has_text="reject").click()
    page.get_by_role("option", name="approve").click()
    boxes = dialog.get_by_role("textbox")
    boxes.nth(boxes.count() - 2).fill("kurul")
    boxes.last.fill("first version; answers in Turkish")
    page.screenshot(path=pictures / "promote-form.png")
    dialog.get_by_role("button", name="Resume").click()
    wait_for(lambda: servers.state(run) == "Promoted", seconds=300, what="the promotion")
    assert servers.alias("champion") == "1"
    assert servers.alias("challenger") is None
    assert "holds" in servers.api.artifacts(run)["gate"]


def test_the_alias_is_seen_in_mlflow(page, servers, pictures):
    page.goto(f"{servers.mlflow}/#/models/diffutron")
    page.get_by_text("champion").first.wait_for()
    page.screenshot(path=pictures / "mlflow-champion.png")


def test_the_report_opens(page, servers):
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((servers.project / "report/report.html").as_uri())
    page.get_by_text("mnli_tr").first.wait_for()
    time.sleep(0.5)  # figures draw themselves
    assert errors == []


def test_versions_aliases_and_runs_survive_a_restart_of_the_servers(page, servers):
    run = servers.newest_run("promote")["id"]
    told = servers.api.artifacts(run)["gate"]
    servers.stop()
    with pytest.raises(httpx.ConnectError):
        servers.alias("champion")
    servers.start()
    assert servers.alias("champion") == "1"
    assert servers.api.state(run)["name"] == "Promoted"
    assert servers.api.artifacts(run)["gate"] == told
    page.goto(f"{servers.mlflow}/#/models/diffutron")
    page.get_by_text("champion").first.wait_for()
