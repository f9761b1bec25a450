"""The stage on a real store: what is logged, what becomes a version, and what it answers."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from diffutron.registry.mlflow_client import experiment_id, tracking
from diffutron.registry.package import smoke_test
from diffutron.registry.register import register
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import file_digest, read_json, write_json
from diffutron.training.hosts import free_port

from .conftest import good_summary, write_build

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def registered(tmp_path_factory, empty_store, tiny_model_dir, demo_values):
    """A build that passed the gate, registered once for the tests below; its folder."""
    from diffutron.config.params import parse_params

    folder = tmp_path_factory.mktemp("registered")
    shutil.copyfile(empty_store, folder / "mlflow.db")
    paths = write_build(folder, good_summary(), tiny_model_dir)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        show_corpus(folder)
        register(parse_params(demo_values, origin="test"), **paths)
    return folder


def show_corpus(folder: Path) -> None:
    """The run that the stage made of itself under bare `dvc repro`, ten seconds ago."""
    with tracking() as client:
        started = int(1000 * time.time()) - 10_000
        tags = {"stage": "corpus"}
        run = client.create_run(experiment_id(client), started, tags, "corpus").info.run_id
        client.set_terminated(run)
    measured = file_digest(folder / "metrics/corpus.json")
    told = {"run_id": run, "status": "FINISHED", "measured": measured, "parent": None}
    write_json(folder / "live/corpus.json", told)


@pytest.fixture
def inside(registered, monkeypatch):
    monkeypatch.chdir(registered)
    return registered


def result_of(folder: Path) -> dict:
    return json.loads((folder / "registry/registered.json").read_text(encoding="utf-8"))


def test_the_result_names_the_version(inside):
    result = result_of(inside)
    assert result["registered"] is True
    assert (result["name"], result["version"], result["alias"]) == ("diffutron", 1, "challenger")
    assert isinstance(result["answer"], str)


def test_the_alias_points_at_a_version_with_fingerprints(inside):
    with tracking() as client:
        version = client.get_model_version_by_alias("diffutron", "challenger")
    assert version.version in (1, "1")
    assert {"git_sha", "git_dirty", "dvc_lock_md5", "params_sha"} <= version.tags.keys()
    assert version.tags["weights_sha256"] == result_of(inside)["weights_sha256"]
    assert version.tags["run_id"] == result_of(inside)["run_id"]
    assert "75.0 %" in version.description


def test_the_run_has_a_child_a_stage_with_its_curve(inside):
    run_id = result_of(inside)["run_id"]
    with tracking() as client:
        runs = client.search_runs(
            [experiment_id(client)], f"tags.`mlflow.parentRunId` = '{run_id}'"
        )
        children = {run.data.tags["stage"]: run for run in runs}
        backbone = children["backbone"].info.run_id
        losses = [(m.step, m.value) for m in client.get_metric_history(backbone, "loss")]
        held_out = client.get_metric_history(backbone, "eval_loss")
    assert set(children) == {"backbone", "corpus", "evaluate", "instructions"}
    assert losses == [(1, 5.0), (2, 4.0)]
    assert [(m.step, m.value) for m in held_out] == [(2, 4.5)]
    assert children["backbone"].data.params["hidden_size"]
    assert all(run.info.status == "FINISHED" for run in runs)
    assert len(runs) == len(children)
    told = read_json(Path("live/corpus.json"))
    assert children["corpus"].info.run_id == told["run_id"]
    assert told["parent"] == run_id
    with tracking() as client:
        build = client.get_run(run_id).info
    assert build.start_time == children["corpus"].info.start_time


def test_the_run_holds_numbers_parameters_data_and_report(inside):
    with tracking() as client:
        run = client.get_run(result_of(inside)["run_id"])
        files = {file.path for file in client.list_artifacts(run.info.run_id, "report")}
    assert run.data.tags["mlflow.note.content"] == "registered diffutron version 1 as challenger"
    assert run.data.metrics["phase2/tasks/mnli_tr/acc"] == 0.7
    assert run.data.metrics["phase2/instructions/acc"] == 0.75
    assert run.data.params["pretrain.lora.rank"]
    assert files == {"report/report.html"}
    with tracking() as client:
        logged = client.get_logged_model(result_of(inside)["model_id"])
    assert {one.key: one.value for one in logged.metrics} == run.data.metrics
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("corpus", "c0ffee.dir")
    assert run.data.tags["dvc_lock_md5"] != "none"


@pytest.fixture(scope="module")
def served(registered):
    import mlflow

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(registered)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with tracking():
            return mlflow.pyfunc.load_model("models:/diffutron@challenger")


def test_the_version_answers_as_the_model_does(served, inside):
    import diffutron

    direct = diffutron.generate(diffutron.load(inside / "models/phase2"), ["Merhaba", "Ankara"])
    assert served.predict(["Merhaba", "Ankara"]) == [answer.text for answer in direct]


def test_parameters_reach_the_sampler(served, inside):
    import diffutron

    lm = diffutron.load(inside / "models/phase2")
    given = {"max_new_tokens": 6, "num_steps": 3, "temperature": 0.8, "seed": 5}
    (direct,) = diffutron.generate(lm, ["Merhaba"], **given)
    assert served.predict(["Merhaba"], params=given) == [direct.text]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"num_steps": 0}, "num_steps=0 must be at least 1"),
        ({"temperature": "warm"}, "temperature"),
        ({"max_new_tokens": 7, "block_length": 2}, "block_length=2 must divide"),
    ],
)
def test_bad_parameters_are_refused(served, params, message):
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match=message) as caught:
        served.predict(["Merhaba"], params=params)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


def test_an_unknown_parameter_is_dropped_with_a_warning_that_names_it(served, caplog):
    import logging

    mlflow_log = logging.getLogger("mlflow")
    mlflow_log.addHandler(caplog.handler)
    try:
        answer = served.predict(["Merhaba"], params={"steps": 3})
    finally:
        mlflow_log.removeHandler(caplog.handler)
    assert answer == served.predict(["Merhaba"])
    (told,) = [one.getMessage() for one in caplog.records if "steps" in one.getMessage()]
    assert "Unrecognized params ['steps']" in told
    assert "'num_steps'" in told


@pytest.fixture
def staged(inside, tmp_path):
    """The files of the version, to be changed."""
    from mlflow.artifacts import download_artifacts

    with tracking():
        download_artifacts(artifact_uri="models:/diffutron@challenger", dst_path=str(tmp_path))
    return tmp_path


@pytest.mark.slow
def test_a_version_runs_on_the_code_that_it_carries(inside, staged):
    """`register` has let it answer in a process without the clone; without a module it does not."""
    assert (staged / "code/diffutron/registry/templates/model_card.md.jinja").exists()
    assert smoke_test(str(staged)) == result_of(inside)["answer"]
    (staged / "code/diffutron/inference/loading.py").unlink()
    with pytest.raises(UserError, match=r"on the code it carries: .*diffutron\.inference\.loading"):
        smoke_test(str(staged))


def test_a_gate_that_does_not_hold_leaves_a_run_and_no_version(build, make_params, summary):
    summary["models"]["phase2"]["instructions"]["acc"] = 0.1
    build["full"].write_text(json.dumps(summary), encoding="utf-8")
    register(make_params(), **build)
    result = result_of(build["out"].parent.parent)
    assert result["registered"] is False
    assert result["failed"] == ["instructions answered exactly: 0.1, wanted at least 0.6"]
    with tracking() as client:
        assert client.search_registered_models() == []
        assert client.get_run(result["run_id"]).info.status == "FINISHED"


def test_pickled_weights_are_refused_and_the_run_is_marked(build, make_params):
    (build["model"] / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(UserError, match=r"pytorch_model\.bin: weights are registered as safe"):
        register(make_params(), **build)
    with tracking() as client:
        runs = client.search_runs([experiment_id(client)], "tags.profile = 'demo'")
        assert [run.info.status for run in runs] == ["FAILED"]
        assert client.search_registered_models() == []
    assert not build["out"].exists()


def test_a_folder_without_weights_is_refused(build, make_params):
    (build["model"] / "model.safetensors").unlink()
    with pytest.raises(UserError, match="holds no safetensors weights"):
        register(make_params(), **build)


@pytest.mark.parametrize("missing", ["full", "report", "model", "evaluation"])
def test_missing_inputs_name_their_stage(build, make_params, missing):
    stages = {"model": "instruct_phase2", "evaluation": "evaluate"}
    stage = stages.get(missing, "report")
    build[missing] = build[missing].with_name("absent")
    with pytest.raises(UserError, match=f"absent.*{stage}"):
        register(make_params(), **build)


@pytest.fixture
def server(inside):
    """The registered version behind `mlflow models serve`, and its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve"]
    command += ["-m", "models:/diffutron@challenger", "--env-manager", "local"]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        cwd=inside,
        env={
            **os.environ,
            "MLFLOW_TRACKING_URI": f"sqlite:///{inside / 'mlflow.db'}",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield wait_for(f"http://127.0.0.1:{port}", process)
    finally:
        with suppress(ProcessLookupError):  # ended by itself: `wait_for` has said why
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(address: str, process: subprocess.Popen) -> str:
    """The address once the server answers; its output if it ends before."""
    while process.poll() is None:
        try:
            if httpx.get(f"{address}/ping", timeout=5).status_code == 200:
                return address
        except httpx.HTTPError:
            select.select([], [], [], 0.5)
    pytest.fail(f"server ended: {process.communicate()[0].decode()}")


@pytest.mark.slow
def test_the_served_version_answers_over_http(server, served):
    def post(**body):
        return httpx.post(f"{server}/invocations", json=body, timeout=120)

    prompts = ["Merhaba", "Bugün hava nasıl?"]
    given = {"max_new_tokens": 6, "num_steps": 3}
    answer = post(inputs=prompts, params=given)
    assert answer.status_code == 200
    assert answer.json() == {"predictions": served.predict(prompts, params=given)}
    assert post(inputs=prompts, params={"num_steps": 0}).status_code == 400
    assert post(inputs=prompts, params={"num_steps": "many"}).status_code == 400
