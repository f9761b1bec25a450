"""What the server asks of a registry, and a server that follows one."""

import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from diffutron.registry.alias import Alias
from diffutron.registry.promote import promote, rollback
from diffutron.runtime.errors import UserError
from tests.support.processes import wait_for

CHAMPION = "models:/diffutron@champion"
BY = {"by": "ayse", "reason": "test"}


@pytest.mark.slow
def test_an_alias_names_a_version_as_it_moves(versions) -> None:
    alias = Alias(CHAMPION)
    with pytest.raises(UserError, match="no alias 'champion'; there are: challenger"):
        alias.version()
    promote(1, **BY)
    assert alias.version() == 1
    promote(2, **BY)
    assert alias.version() == 2
    rollback(**BY)
    assert alias.version() == 1


def test_a_version_is_fetched_and_every_file_verified(versions, tmp_path) -> None:
    alias = Alias(CHAMPION)
    model = alias.download(2, tmp_path / "there")
    alias.verify(2, model)
    with (model / "model.safetensors").open("ab") as file:
        file.write(b" ")
    with pytest.raises(UserError, match=r"model.safetensors is damaged"):
        alias.verify(2, model)
    (model / "checksums.json").unlink()
    with pytest.raises(UserError, match=r"version 2 carries no checksums.json"):
        alias.verify(2, model)


def test_what_cannot_be_had_is_told_in_one_line(versions, tmp_path) -> None:
    alias = Alias(CHAMPION)
    with pytest.raises(UserError, match="diffutron has no version 7; there are: 1, 2"):
        alias.download(7, tmp_path)
    Path("mlflow.db").rename("gone.db")
    for ask in (alias.version, lambda: alias.download(2, tmp_path)):
        with pytest.raises(UserError, match=r"no registry here: .*mlflow.db does not exist"):
            ask()


def test_a_version_whose_files_are_gone_is_told_in_one_line(two_versions, tmp_path, monkeypatch):
    project = shutil.copytree(two_versions, tmp_path / "project")
    monkeypatch.chdir(project)
    alias = Alias(CHAMPION)
    found = alias.download(2, tmp_path / "once")
    assert found.exists()
    (files,) = (project / "mlartifacts").glob("models")
    files.rename(project / "elsewhere")
    with pytest.raises(UserError, match="failures occurred while downloading"):
        alias.download(2, tmp_path / "twice")


@pytest.mark.slow
def test_the_server_follows_the_champion(versions) -> None:
    """Promotion, rollback, and a registry that is away for a while."""
    promote(1, **BY)
    command = [sys.executable, "-m", "diffutron", "serve", "--model", CHAMPION]
    command += ["--port", "0", "--poll", "0.2", "--device", "cpu"]
    with (
        Path("log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process,
    ):

        def lines() -> list[str]:
            said = Path("log").read_text(encoding="utf-8").splitlines()
            return [line for line in said if line.startswith(("serving", "version", "registry"))]

        def serves(version: int) -> None:
            wait_for(
                lambda: httpx.get(f"{url}/ready").json()["version"] == version,
                seconds=60,
                what=f"version {version}",
            )

        try:
            wait_for(lambda: bool(lines()), seconds=120, what="the server")
            url = lines()[0].split()[-1]
            assert lines() == [f"serving champion at {url}"]
            serves(1)
            promote(2, **BY)
            serves(2)
            Path("mlflow.db").rename("away.db")
            wait_for(
                lambda: "registry" in httpx.get(f"{url}/ready").json(), seconds=60, what="away"
            )
            body = {"prompt": "Kedi", "max_tokens": 2}
            assert httpx.post(f"{url}/v1/completions", json=body).status_code == 200
            Path("away.db").rename("mlflow.db")
            wait_for(lambda: len(lines()) == 4, seconds=60, what="the registry")
            rollback(**BY)
            serves(1)
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert [line.split(":")[0] for line in lines()[1:]] == [
        "version 2 is served in place of version 1",
        "registry",
        "registry",
        "version 1 is served in place of version 2",
    ]
    assert "Traceback" not in Path("log").read_text(encoding="utf-8")
