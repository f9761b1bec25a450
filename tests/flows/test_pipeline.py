"""The flow `build` on a small pipeline: what runs, what is skipped, what a failure says."""

import logging
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter

from diffutron.operations.graph import direct_needs
from flows import pipeline
from flows.evaluation import evaluate
from flows.form import Settings
from flows.pipeline import NOT_REGISTERED, SLOT, build
from flows.stage import UP_TO_DATE

pytestmark = pytest.mark.usefixtures("prefect_server")


def run(**parameters):
    return build(first="tokenizer", last="register", **parameters, return_state=True)


def states_of(state) -> dict[str, str]:
    """Stage -> name of the state of its task, as the server holds it."""
    wanted = FlowRunFilter(id={"any_": [state.state_details.flow_run_id]})  # type: ignore[arg-type]
    with get_client(sync_client=True) as client:
        tasks = client.read_task_runs(flow_run_filter=wanted)
    return {task.name: task.state_name or "" for task in tasks}


def lines_of(state) -> dict[str, set[str]]:
    """Stage -> the stages from which a line leads to it in the graph of the run."""
    wanted = FlowRunFilter(id={"any_": [state.state_details.flow_run_id]})  # type: ignore[arg-type]
    with get_client(sync_client=True) as client:
        tasks = client.read_task_runs(flow_run_filter=wanted)
    names = {task.id: task.name for task in tasks}
    return {
        task.name: {names[one.id] for one in task.task_inputs.get("wait_for", [])}  # type: ignore[union-attr]
        for task in tasks
    }


def artifact(key: str) -> str:
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted)
    return str(max(found, key=lambda each: each.updated).data)


def description(key: str) -> str:
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted)
    return str(max(found, key=lambda each: each.updated).description)


@pytest.mark.usefixtures("toy", "toy_store")
def test_a_stage_runs_only_where_something_changed():
    first = run()
    assert first.message == "ran tokenizer, corpus, report, register"
    assert first.name == "Registered v3"
    assert lines_of(first) == direct_needs()
    assert states_of(first) == dict.fromkeys(
        ("tokenizer", "corpus", "report", "register"), "Completed"
    )
    assert artifact("report") == "# report: fine"
    assert artifact("report-page").endswith("/toy/report/report.html)")
    assert float(artifact("progress")) == 100

    second = run()
    assert (second.name, second.message) == (UP_TO_DATE, "ran nothing")
    assert {*states_of(second).values()} == {UP_TO_DATE}

    Path("corpus.txt").write_text("other")
    third = run()
    assert states_of(third) == {
        "tokenizer": UP_TO_DATE,
        "corpus": "Completed",
        "report": "Completed",
        "register": "Completed",
    }
    assert Path("metrics/corpus.json").read_text() == "# corpus: other"


@pytest.mark.usefixtures("toy", "toy_store")
def test_a_model_that_the_gate_refuses_is_no_green_run():
    """However often it is asked, since up to date does not mean accepted."""
    Path("register.txt").write_text("refuse")
    for state in (run(), run()):
        assert state.is_failed()
        told = "the gate refuses the model: a task fell"
        assert (state.name, state.message) == (NOT_REGISTERED, told)
    assert states_of(state)["register"] == UP_TO_DATE  # the stage has done its work
    assert build(last="report", return_state=True).is_completed()


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "build"),
        ({"overrides": ["seed=7", "corpus.min_tokens=4"]}, "build, seed=7, corpus.min_tokens=4"),
        ({"profile": "demo"}, "build demo"),
        ({"settings": {"seed": 7}, "overrides": ["corpus.min_tokens=4"]},)
        + ("build, seed=7, corpus.min_tokens=4",),
        ({"last": "corpus"}, "build from tokenizer to corpus"),
    ],
)
def test_a_run_is_named_by_what_it_does(monkeypatch, given, name):
    monkeypatch.setattr(pipeline, "flow_run", SimpleNamespace(parameters=given))
    assert pipeline.run_name() == name
    assert build.flow_run_name is pipeline.run_name


def test_the_progress_goes_by_the_plan(toy, repo):
    """A stage has the share of the time that it is planned to take; what it says stands beside."""
    shutil.copyfile(repo / "params.yaml", "params.yaml")
    Path("corpus.txt").write_text("bad")
    assert run().is_failed()
    plan = artifact("plan")
    minutes = {
        cells[1].strip(): float(cells[4])
        for line in plan.splitlines()
        if len(cells := line.split("|")) == 6 and cells[4].strip().replace(".", "").isdigit()
    }
    assert {"backbone", "evaluate", "all"} <= minutes.keys()
    assert abs(sum(minutes.values()) - 2 * minutes["all"]) < 1
    assert 0 < float(artifact("progress")) < 100
    assert description("progress") == "corpus: 50 %"


@pytest.mark.usefixtures("toy", "toy_store")
def test_a_version_that_was_deleted_in_the_registry_is_registered_again(caplog):
    from diffutron.registry.mlflow_client import tracking

    run()
    assert run().message == "ran nothing"
    with tracking() as client:
        client.delete_model_version("diffutron", "3")
    again = run()
    assert again.message == "ran register"
    assert states_of(again)["register"] == "Completed"
    assert "Running stage 'register'" in caplog.text.rpartition("is gone from")[2]  # DVC was forced
    told = "register will run again: version 3 of diffutron is gone from the registry."
    assert f"| register | {told} |" in artifact("plan")


@pytest.mark.usefixtures("toy", "toy_store")
def test_a_registry_that_does_not_answer_is_no_reason_to_run_a_stage(monkeypatch, caplog):
    run()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///damaged.db")
    Path("damaged.db").write_bytes(b"no database at all" * 100)
    assert run().message == "ran nothing"
    assert "whether version 3 of diffutron is still registered is not known" in caplog.text


def test_what_params_name_is_looked_for_before_anything_runs(toy, repo):
    text = (repo / "params.yaml").read_text("utf-8")
    for name in ("backbone", "tokenizer"):
        section, _, rest = text.partition(f"\n{name}:\n")[2].partition("name:")
        text = text.replace(f"{section}name:{rest}", f"  source: local\n  name: no/such #{rest}")
    Path("params.yaml").write_text(text, "utf-8")
    state = run()
    assert state.is_failed()
    told = "tokenizer.name: there is no folder no/such; backbone.name: there is no folder no/such"
    assert state.message == told
    assert states_of(state) == {}


def test_only_the_stages_asked_for_run(toy):
    assert build(last="corpus", return_state=True).message == "ran tokenizer, corpus"
    assert not Path("report").exists()
    refused = build(first="register", last="corpus", return_state=True)
    assert refused.is_failed()
    assert "register comes after corpus" in refused.message


@pytest.mark.parametrize(("field", "told"), [(None, "of-the-worker"), ("ray", "ray")])
def test_the_form_or_else_the_machine_says_who_cleans_the_corpus(toy, monkeypatch, field, told):
    monkeypatch.setenv("DIFFUTRON_EXECUTOR", "of-the-worker")
    pipeline_of_toy = Path("dvc.yaml").read_text()
    says_it = 'mkdir -p metrics; echo "$DIFFUTRON_EXECUTOR" > metrics/corpus.json'
    work = "python work.py corpus metrics/corpus.json"
    Path("dvc.yaml").write_text(pipeline_of_toy.replace(work, says_it))
    assert build(last="corpus", executor=field, return_state=True).is_completed()
    assert Path("metrics/corpus.json").read_text().strip() == told


def test_a_failure_says_why_first(toy):
    Path("corpus.txt").write_text("bad")
    state = run()
    assert state.is_failed()
    reason = "corpus: corpus.min_tokens = 0: must be above 0 (exit code 1)"
    assert state.message.splitlines()[0] == reason
    assert states_of(state) == {"tokenizer": "Completed", "corpus": "Failed"}
    shown = artifact("corpus-failure")
    assert shown.startswith(f"**{reason}**")
    assert "corpus: 1/2 (50 %)" in shown
    assert float(artifact("progress")) == 37.5  # one stage of four, and half of the second


def test_a_broken_pipeline_is_said_before_anything_runs(toy):
    Path("dvc.yaml").write_text("stages:\n  tokenizer: {cmd: x}\n  register: {command: y}\n")
    state = run()
    assert state.is_failed()
    assert state.message.startswith("dvc status: ")
    assert states_of(state) == {}


def test_a_profile_replaces_params_that_nobody_changed(toy, repo, monkeypatch):
    Path("infra").mkdir()
    Path("infra/profiles").symlink_to(repo / "infra" / "profiles")
    chosen = {"profile": "demo", "overrides": ["pretrain.training.steps=7"], "last": "tokenizer"}
    state = build(**chosen, return_state=True)
    assert state.message == (
        "ran tokenizer; params.yaml holds profile demo: pretrain.training.steps: 160 -> 7"
    )
    written = Path("params.yaml").read_text()
    assert "steps: 7 " in written  # its meaning stands beside it
    assert "Profile demo: " in artifact("plan")
    monkeypatch.setattr(pipeline, "publish_plan", lambda *_, **__: {})  # takes seconds

    Path("params.yaml").write_text(written.replace("seed: 13", "seed: 14"))
    refused = build(**chosen, return_state=True)
    assert refused.is_failed()
    assert "params.yaml holds changes made by hand" in refused.message
    assert "seed: 14" in Path("params.yaml").read_text()

    state = build(settings=Settings(seed=15), last="tokenizer", return_state=True)
    assert state.message.endswith("; params.yaml holds profile current: seed: 14 -> 15")
    assert "seed: 15" in Path("params.yaml").read_text()

    assert build(**chosen, force=True, return_state=True).is_completed()
    assert Path("params.yaml").read_text() == written


@pytest.mark.parametrize(("runs", "priced"), [((), 0), (("report",), 0), (("corpus", "report"), 1)])
def test_a_build_of_seconds_is_not_priced(runs, priced, toy, repo, monkeypatch):
    Path("params.yaml").write_text((repo / "params.yaml").read_text("utf-8"), "utf-8")
    asked, shown = [], []

    def plan(command, *, log):
        asked.append(command[1:])
        for line in ("a warning", '{"profile": "demo",', '"stages": []}', "another one"):
            log(line)

    monkeypatch.setattr(pipeline, "run_command", plan)
    monkeypatch.setattr(pipeline, "create_markdown_artifact", lambda **it: shown.append(it))
    pipeline.publish_plan(("corpus", "report"), {}, runs, force=False)
    assert asked == [["-m", "diffutron", "plan", "--json"]] * priced
    assert ("what a whole build costs" in shown[0]["markdown"]) == bool(priced)


def test_evaluate_can_score_again_what_is_up_to_date(toy, monkeypatch):
    monkeypatch.setattr("flows.evaluation.STAGES", ("corpus", "report"))
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], check=True)
    assert evaluate(return_state=True).message == "ran nothing"
    assert evaluate(rerun=True, return_state=True).message == "ran corpus, report"


class Release(logging.Handler):
    """Gives the slot back when the flow says that it waits."""

    def __init__(self, lease):
        super().__init__()
        self.lease, self.waited = lease, False

    def emit(self, record: logging.LogRecord) -> None:
        if "waiting for the training slot" in record.getMessage() and not self.waited:
            self.waited = True
            with get_client(sync_client=True) as client:
                client.release_concurrency_slots_with_lease(self.lease)


def test_a_run_waits_for_the_training_slot(toy, monkeypatch):
    monkeypatch.setattr(pipeline, "WAIT", 0.5)
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(SLOT, 1)
        taken = client.increment_concurrency_slots_with_lease([SLOT], 1, "concurrency", 60)
        handler = Release(taken.json()["lease_id"])
        logging.getLogger("prefect.flow_runs").addHandler(handler)
        try:
            state = build(last="corpus", return_state=True)
        finally:
            logging.getLogger("prefect.flow_runs").removeHandler(handler)
            client.delete_global_concurrency_limit_by_name(SLOT)
    assert state.message == "ran tokenizer, corpus"
    assert handler.waited
