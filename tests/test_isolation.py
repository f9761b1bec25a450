"""No test sees what a build left in this clone, and none leaves anything there."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import BUILT, CLONE, BuildSeen


def test_a_test_begins_in_an_empty_folder_of_its_own(tmp_path):
    assert Path.cwd() == tmp_path
    assert not [*tmp_path.iterdir()]


@pytest.fixture(scope="module")
def folder_of_a_file() -> Path:
    return Path.cwd()


def test_fixtures_of_a_file_begin_in_an_empty_folder(folder_of_a_file):
    assert not [*folder_of_a_file.iterdir()]
    assert CLONE not in (folder_of_a_file, *folder_of_a_file.parents)


def test_the_project_holds_committed_files_alone(repo):
    assert {path.name for path in repo.iterdir()} & BUILT == {"params.yaml"}
    for name in ("README.md", "diffutron/api.py", "infra/profiles/demo.yaml", ".ci/run"):
        assert (repo / name).read_bytes() == (CLONE / name).read_bytes()
    assert os.access(repo / ".ci/run", os.X_OK)
    index = subprocess.run(
        ["git", "-C", CLONE, "show", ":params.yaml"], capture_output=True, check=True
    )
    assert (repo / "params.yaml").read_bytes() == index.stdout


LEAVES = """
import pytest

@pytest.fixture(scope="session")
def _project(tmp_path_factory):
    return tmp_path_factory.mktemp("project"), set()

def test_leaves_a_folder(repo):
    (repo / "mlartifacts").mkdir()

def test_that_follows(repo):
    assert (repo / "mlartifacts").exists()
"""


@pytest.mark.slow
def test_whoever_leaves_something_in_the_project_is_told(repo, tmp_path):
    (tmp_path / "test_it.py").write_text(LEAVES)
    plain = ["-p", "tests.conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plain, tmp_path],
        env=os.environ | {"PYTHONPATH": str(repo)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed, 1 error" in done.stdout, done.stdout
    assert "ERROR at teardown of test_leaves_a_folder" in done.stdout
    assert "left in the shared `repo`: ['mlartifacts']" in done.stdout


@pytest.mark.parametrize("name", sorted(BUILT))
def test_what_a_build_left_cannot_be_opened(name, monkeypatch):
    place = CLONE / name
    for look in (place.read_bytes, place.mkdir, lambda: os.listdir(place), place.unlink):
        with pytest.raises(BuildSeen, match=str(place)):
            look()
    with pytest.raises(BuildSeen, match="inside"):
        (place / "inside").read_text()


def test_neither_can_its_database():
    with pytest.raises(BuildSeen):
        sqlite3.connect(CLONE / "mlflow.db")


def test_no_test_works_in_the_clone(repo):
    with pytest.raises(BuildSeen, match="fixture `repo`"):
        os.chdir(CLONE)
    with pytest.raises(BuildSeen, match="fixture `repo`"):
        subprocess.run([sys.executable, "-c", ""], cwd=CLONE)
    for path in sorted(repo.glob("tests/**/*.py")):  # whoever looks for the clone finds it here
        if path.name not in (
            "project.py",
            "test_architecture.py",
            "test_isolation.py",
            "test_stage_code.py",
        ):
            for line in path.read_text(encoding="utf-8").splitlines():
                assert "Path(__file__).resolve().parent" not in line, path


def test_variables_of_the_user_are_not_there():
    names = ("DIFFUTRON_", "MLFLOW_TRACKING_", "PREFECT_API_")
    found = {name: value for name, value in os.environ.items() if name.startswith(names)}
    assert found == {"DIFFUTRON_TRACKING": "off"}  # ours
