"""What has changed since a stage last ran: the key with both values, the file, the code folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from diffutron.operations.profiles import write_params
from diffutron.operations.why import changes, why
from diffutron.runtime.errors import UserError
from diffutron.runtime.yaml_files import read_yaml
from tests.support.own_tasks import write_own_tasks
from tests.support.project import copy_project

pytestmark = pytest.mark.slow
PIPELINE = """
stages:
  corpus:
    cmd: mkdir -p data && cat diffutron/data/rules.py raw.txt > data/corpus
    deps: [raw.txt, diffutron/data]
    params: [seed, corpus]
    outs: [data/corpus]
  pretrain:
    cmd: cat data/corpus > model
    deps: [data/corpus]
    params: [pretrain]
    outs: [model]
"""


def dvc(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Two stages that have run once; a test puts back what it changes."""
    folder = tmp_path_factory.mktemp("why")
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[core]\n  no_scm = true\n  check_update = false\n")
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "diffutron/data").mkdir(parents=True)
    (folder / "diffutron/data/rules.py").write_text("# rules\n")
    (folder / "raw.txt").write_text("text")
    (folder / "params.yaml").write_text(
        "seed: 1\ncorpus: {max_tokens: 512}\npretrain: {training: {steps: 160}, name: 'a'}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert why("pretrain") == "pretrain will run again: it has not run here yet."
        dvc("repro", "-q")
    return folder


@pytest.fixture
def here(built, monkeypatch):
    monkeypatch.chdir(built)
    names = ("params.yaml", "raw.txt", "diffutron/data/rules.py", "dvc.yaml")
    before = {name: Path(name).read_text() for name in names}
    yield built
    for name, text in before.items():
        Path(name).write_text(text)


@pytest.mark.usefixtures("here")
def test_nothing_has_changed():
    Path(".dvc/tmp/rwlock").write_text("")  # a DVC was killed while it wrote its locks
    assert changes() == {}
    up_to_date = "pretrain is up to date: nothing that it depends on has changed."
    assert why("pretrain") == up_to_date


@pytest.mark.usefixtures("here")
def test_a_key_is_named_with_both_values():
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("160", "200").replace(", name: 'a'", ""))
    assert why("pretrain") == (
        "pretrain will run again: params.yaml pretrain.training.steps is 200 and was 160; "
        'params.yaml pretrain.name is not there and was "a".'
    )
    assert changes().keys() == {"pretrain"}


@pytest.mark.usefixtures("here")
def test_files_and_code_folders_are_named_and_stages_before():
    Path("raw.txt").write_text("other")
    Path("diffutron/data/rules.py").write_text("# other rules\n")
    said = why("corpus")
    assert said.startswith("corpus will run again: ")
    assert "its input raw.txt has changed" in said
    assert "the code folder diffutron/data has changed" in said
    assert why("pretrain").startswith(
        "pretrain may run again, because a stage before it will: corpus ("
    )


@pytest.mark.usefixtures("here")
def test_a_changed_command_and_a_missing_output():
    Path("dvc.yaml").write_text(PIPELINE.replace("> model", "  > model"))
    assert why("pretrain") == "pretrain will run again: its command in dvc.yaml has changed."


@pytest.mark.usefixtures("here")
def test_mistakes():
    with pytest.raises(UserError, match="no stage 'train'; the stages are: corpus, pretrain"):
        why("train")
    Path("dvc.yaml").write_text("stages: {pretrain: {command: x}}")
    with pytest.raises(UserError, match="dvc status: .*dvc.yaml"):
        why("pretrain")
    Path("dvc.yaml").unlink()
    with pytest.raises(UserError, match="no dvc.yaml here"):
        why("pretrain")


def test_a_changed_task_file_runs_the_evaluation_again_and_trains_nothing(tmp_path, monkeypatch):
    """The pipeline of the project, whose stages have all run, with outputs that hold nothing."""
    monkeypatch.chdir(copy_project(tmp_path))
    Path(".dvc/config.local").write_text("[core]\n  no_scm = true\n  check_update = false\n")
    file = write_own_tasks(Path("my-tasks")) / "s.jsonl"
    given = {"path": Path("params.yaml"), "keep_changes": True}
    write_params("current", ["evaluate.tasks_dir=my-tasks"], **given)
    for stage in read_yaml(Path("dvc.yaml"))["stages"].values():
        for one in [*stage["outs"], *stage.get("metrics", []), *stage.get("plots", [])]:
            out = Path(*one)  # a mapping of one path to its settings
            out.parent.mkdir(parents=True, exist_ok=True)
            out.touch()
    dvc("commit", "-f", "-q")
    assert changes() == {}
    file.write_text(file.read_text("utf-8").replace("Kim 7?", "Kim 70?"), "utf-8")
    write_params("current", [], **given)
    assert changes().keys() == {"evaluate"}
    assert "params.yaml evaluate.tasks_digest is " in why("evaluate")
    assert why("report").startswith("report may run again")
    assert why("instruct_phase2").startswith("instruct_phase2 is up to date")
