"""What release 0.1 registered is read by this release (tests/golden/make_registry.py made it)."""

import importlib.util
import json
import subprocess
import sys

import pytest

from diffutron.registry.evidence import read_evidence
from diffutron.registry.export import export
from diffutron.registry.history import history
from diffutron.registry.mlflow_client import tracking
from diffutron.registry.promote import promote, rollback
from diffutron.registry.promotion_gate import judge

pytestmark = pytest.mark.slow


@pytest.fixture
def old(repo, tmp_path, monkeypatch):
    """The registry of 0.1 in the current folder."""
    golden = repo / "tests" / "golden"
    spec = importlib.util.spec_from_file_location("make_registry", golden / "make_registry.py")
    assert spec
    assert spec.loader
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    maker.unpack(golden / "registry-0.1.tar.gz", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("old")
def test_its_history_is_read_with_the_promotion_against_the_gate():
    told = [(one.previous, one.version, one.kind, one.override_gate, one.by) for one in history()]
    assert told == [
        (None, 1, "promotion", False, "kurul"),
        (1, 2, "promotion", True, "Ayşe"),
        (2, 1, "rollback", False, "kurul"),
    ]


@pytest.mark.usefixtures("old")
def test_its_parameters_are_read_by_their_new_names():
    with tracking() as client:
        found = read_evidence(client, "diffutron", 1)
    params = found.params
    assert (params.evaluate.max_items, params.evaluate.likelihood_rows) == (200, 15)
    assert params.backbone.training.final_lr_ratio == 0.03
    assert params.backbone.training.spike_steps == 50
    assert params.instruct_phase2.max_eos_fill == 10
    assert params.instruct_phase2.normalize == "token"
    assert params.corpus.contamination.tasks == params.evaluate.tasks
    assert params.promote.max_drop == 0.1
    assert found.measured["evaluate"]["unigram"] == 1.7
    assert sum(map(len, found.answers.correct.values())) == 7 * 200


@pytest.mark.usefixtures("old")
def test_its_versions_are_judged_promoted_and_rolled_back():
    worse = judge(2, serve=False)
    assert worse.champion == 1
    assert worse.comparison
    assert worse.comparison["mean_difference"] == pytest.approx(-0.05)
    assert "mean accuracy, difference" in worse.failed[0]
    evidence = worse.as_evidence()
    promote(2, by="kurul", reason="again", evidence=evidence, override_gate=True)
    assert judge(1, serve=False).holds
    assert rollback(by="kurul").version == 1
    assert len(history()) == 5


@pytest.mark.slow
def test_a_new_version_is_compared_with_an_old_champion(
    old, demo_values, tiny_model_dir, monkeypatch
):
    from diffutron.config.params import parse_params
    from diffutron.registry.register import register

    from .conftest import good_summary, model_numbers, write_build

    better = good_summary()
    better["models"]["phase2"] = model_numbers(p_value=1e-9, acc=0.8, bits=0.65)
    monkeypatch.setattr("diffutron.registry.register.smoke_test", lambda uri: "ok")
    paths = write_build(old / "build", better, tiny_model_dir)
    register(parse_params(demo_values, origin="test"), **paths)
    found = judge(3, serve=False)
    assert (found.champion, found.holds) == (1, True), found.failed


def test_it_is_exported_and_loaded(old, tmp_path):
    import diffutron

    assert "model.safetensors" in export(2, tmp_path / "out")
    exported = diffutron.load(tmp_path / "out", device="cpu")
    with tracking():
        registered = diffutron.load("models:/diffutron@champion", device="cpu")
    answers = [
        diffutron.generate(lm, ["Merhaba"], max_new_tokens=4)[0].text
        for lm in (exported, registered)
    ]
    assert answers[0] == answers[1]


@pytest.mark.slow
def test_it_is_served_by_the_code_that_it_carries(old):
    """As MLflow does it, in a new process; three modules that 0.1 left out come from loading.py."""
    code = """
import json, sys, mlflow
mlflow.set_tracking_uri("sqlite:///mlflow.db")
served = mlflow.pyfunc.load_model("models:/diffutron@champion")
answer = served.predict(["Merhaba"], params={"max_new_tokens": 4})
import diffutron
print(json.dumps({"from": diffutron.__file__, "answer": answer}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=old, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["from"].startswith(str(old / "mlartifacts"))
    (answer,) = told["answer"]
    assert isinstance(answer, str)


@pytest.mark.slow
@pytest.mark.usefixtures("old")
def test_its_gate_holds_with_the_serving_test():
    found = judge(1)
    assert found.holds, found.failed


def test_its_files_for_a_rebuild_are_read(old, repo, monkeypatch, tmp_path):
    """`reproduce` checks out the commit and gives it the parameters as they were stored."""
    from diffutron.operations.reproduce import reproduce

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{old / 'mlflow.db'}")
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "old code"]):
        subprocess.run(["git", *identity, *arguments], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    with tracking() as client:  # a clone of this project need not have its history
        client.set_model_version_tag("diffutron", "1", "git_sha", head.stdout.strip())
    assert reproduce(1, check=False, to=tmp_path / "clone")
    stored = (tmp_path / "clone/params.yaml").read_text(encoding="utf-8")
    assert "final_learning_rate: 0.03" in stored
