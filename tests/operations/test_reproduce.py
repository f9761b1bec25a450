"""A version is rebuilt from its commit in a clone; a dirty one is refused."""

import json
import subprocess
from pathlib import Path

import pytest

from diffutron.operations.reproduce import compare, reproduce
from diffutron.registry.mlflow_client import experiment_id, tracking
from diffutron.runtime import provenance
from diffutron.runtime.errors import StageFailure, UserError

pytestmark = pytest.mark.slow
WORK = """
import json, pathlib, sys
value = json.loads(pathlib.Path("params.yaml").read_text())["value"]
pathlib.Path("metrics").mkdir(exist_ok=True)
pathlib.Path("metrics/summary.json").write_text(json.dumps({"models": {"phase2": {"acc": value}}}))
"""
PIPELINE = """
stages:
  report:
    cmd: python work.py
    deps: [work.py, params.yaml]
    metrics:
      - metrics/summary.json: {cache: false}
"""


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A repository with a one-stage pipeline, a store, and `version(**tags)` to register one."""
    monkeypatch.chdir(tmp_path)
    Path("work.py").write_text(WORK)
    Path("dvc.yaml").write_text(PIPELINE)
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n  analytics = false\n  check_update = false\n")
    Path("params.yaml").write_text('{"value": 0.5}')
    Path(".gitignore").write_text("/mlflow.db\n/mlartifacts\n/.dvc/tmp\n/.dvc/cache\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "pipeline")
    commit = git("rev-parse", "HEAD")
    Path("work.py").write_text("raise SystemExit('a later version of the code')")
    git("commit", "-qam", "later")

    def version(value: float, *, acc: float, **tags: str) -> None:
        with tracking(make=True) as client:
            if not client.search_registered_models("name='diffutron'"):
                client.create_registered_model("diffutron")
            run = client.create_run(experiment_id(client)).info.run_id
            client.log_text(run, json.dumps({"value": value}), "params.yaml")
            client.log_text(run, "schema: '2.0'\n", "dvc.lock")
            summary = {"models": {"phase2": {"acc": acc}}}
            client.log_text(run, json.dumps(summary), "metrics/summary.json")
            known = {"git_sha": commit, "git_dirty": "false", "run_id": run} | tags
            client.create_model_version("diffutron", "file:///none", tags=known)

    return version


def test_a_rebuild_uses_the_commit_and_the_parameters_of_the_version(project, tmp_path, capsys):
    project(0.75, acc=0.75)
    clone = tmp_path / "kept"
    assert reproduce(1, check=True, to=clone)
    assert "1 numbers equal, 0 within 0.02, 0 differ" in capsys.readouterr().out
    assert json.loads((clone / "params.yaml").read_text()) == {"value": 0.75}
    assert (clone / "work.py").read_text() == WORK
    with pytest.raises(UserError, match="kept exists; name a new folder with --to"):
        reproduce(1, check=True, to=clone)


def test_a_build_with_other_parameters_than_the_commits_can_be_made_again(project):
    """As one from a form is: the parameters that it ran with stand in its run."""
    git("checkout", "-q", "HEAD~1")
    Path("params.yaml").write_text('{"value": 0.75}')
    code = provenance.code()
    project(0.75, acc=0.75, git_sha=str(code.sha), git_dirty=str(code.dirty).lower())
    assert reproduce(1, check=True)


def test_numbers_that_are_not_met_are_named(project, capsys):
    project(0.75, acc=0.5)
    assert not reproduce(1, check=True)
    assert "DIFFERS phase2/acc: 0.5 -> 0.75" in capsys.readouterr().out


def test_the_clone_alone(project, tmp_path, capsys):
    project(0.75, acc=0.75)
    assert reproduce(1, check=False, to=tmp_path / "clone")
    assert "build it with `dvc repro report` there" in capsys.readouterr().out
    assert not (tmp_path / "clone/dvc.lock").exists()
    assert (tmp_path / "clone/dvc.lock.registered").exists()


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"git_dirty": "true"}, r"was made with changes that are in no commit \(git_dirty\)"),
        ({"git_sha": "none"}, "has no commit on record"),
        ({"git_sha": "0" * 40}, "commit 0000.* is not in the repository"),
        ({"tuned_on": "my.jsonl"}, "was tuned on my.jsonl, which is not part of the project"),
        ({"git_sha": "--upload-pack=x"}, "is not in the repository"),
    ],
)
def test_what_cannot_be_made_again_is_refused(project, tags, message):
    project(0.5, acc=0.5, **tags)
    with pytest.raises(UserError, match=message):
        reproduce(1, check=True)
    with pytest.raises(UserError, match="no version 2"):
        reproduce(2, check=True)


def test_a_build_that_fails_says_so(project):
    project(0.5, acc=0.5, git_sha=git("rev-parse", "HEAD"))
    with pytest.raises(StageFailure, match="the rebuild ended with exit code"):
        reproduce(1, check=True)


def test_numbers_are_close_equal_or_different():
    old = {"models": {"a": {"acc": 0.5, "bits": 2.0, "gone": 1.0, "same": 3}}}
    new = {"models": {"a": {"acc": 0.51, "bits": 2.1, "same": 3}}}
    assert compare(old, new) == [
        "close   a/acc: 0.5 -> 0.51",
        "DIFFERS a/bits: 2 -> 2.1",
        "DIFFERS a/gone: 1.0 -> null",
        "1 numbers equal, 1 within 0.02, 2 differ",
    ]


def test_without_a_repository(tmp_path, monkeypatch):
    from diffutron.operations.reproduce import _checkout

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="git rev-parse: fatal: not a git repository"):
        _checkout("0" * 40, tmp_path / "clone")
