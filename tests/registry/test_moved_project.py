"""A copied or moved project reads and writes its own files, never those of where it came from."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from diffutron.inference.loading import registered_folder
from diffutron.registry.mlflow_client import experiment_id, tracking
from diffutron.runtime.errors import UserError
from diffutron.runtime.moved_project import follow_move

VERSION = "models:/diffutron/1"


def files(folder: Path) -> dict[str, bytes]:
    """Path -> content of every file that a registry keeps."""
    kept = [folder / "mlflow.db", *(folder / "mlartifacts").rglob("*")]
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in kept if path.is_file()
    }


def addresses(database: Path) -> str:
    """Everything that stands in the database, as text."""
    with closing(sqlite3.connect(database)) as connection:
        return "\n".join(connection.iterdump())


def version_folder() -> Path:
    with pytest.MonkeyPatch.context() as patch:
        # MLflow remembers the store of an earlier call, there and in the process.
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with tracking():
            return registered_folder(VERSION)


@pytest.fixture
def copied(two_versions, tmp_path, monkeypatch) -> Path:
    """A copy of a project, in a place whose name a URL would have to escape."""
    folder = tmp_path / "Proje Çalışma 100%20?"
    shutil.copytree(two_versions, folder)
    monkeypatch.chdir(folder)
    return folder


def test_a_copy_leaves_the_original_alone(two_versions, copied):
    before = files(two_versions)
    assert version_folder().is_dir()
    with tracking() as client:
        run = client.create_run(experiment_id(client)).info
        client.log_text(run.run_id, "new", "new.txt")
        versions = client.search_model_versions("name = 'diffutron'")
        assert {version.version for version in versions} == {1, 2}
    assert run.artifact_uri.startswith((copied / "mlartifacts").as_uri())
    assert "new.txt" in {Path(name).name for name in files(copied)}
    assert files(two_versions) == before
    assert f"{two_versions}/mlartifacts" not in addresses(copied / "mlflow.db")


def test_a_project_may_move_again_and_again(copied, tmp_path, monkeypatch, capsys):
    for name in ("first", "second"):
        place = Path.cwd().rename(tmp_path / name)
        monkeypatch.chdir(place)
        assert (version_folder() / "config.json").is_file()
        assert f"the registry now reads {place}/mlartifacts" in capsys.readouterr().err
        follow_move(Path("mlflow.db"))
        assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("copied")
def test_a_moved_project_that_cannot_be_written_says_so(monkeypatch):
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path: connect(path, timeout=0))
    said = pytest.raises(UserError, match="names files in file:///.* cannot be changed")
    with closing(connect("mlflow.db")) as other, said:
        other.execute("BEGIN IMMEDIATE")  # as another program that writes; it may be read
        follow_move(Path("mlflow.db"))


@pytest.mark.parametrize("content", [b"", b"no database", None])
def test_what_is_no_registry_is_left_as_it_is(tmp_path, monkeypatch, content):
    """None: a database of something else."""
    monkeypatch.chdir(tmp_path)
    Path("mlartifacts").mkdir()
    if content is None:
        with closing(sqlite3.connect("mlflow.db")) as connection:
            connection.execute("CREATE TABLE experiments (name TEXT)")
    else:
        Path("mlflow.db").write_bytes(content)
    before = Path("mlflow.db").read_bytes()
    follow_move(Path("mlflow.db"))
    assert Path("mlflow.db").read_bytes() == before
