"""A folder that is no clone, and one that is not mine to write."""

import os
import shutil
import subprocess
import sys

import pytest

from diffutron.runtime.errors import UserError
from diffutron.runtime.project import require_project, require_writable
from flows.stage import environment

SETPRIV = shutil.which("setpriv")


def test_what_a_clone_lacks_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no dvc.yaml and no flows here: `diffutron up` works in"):
        require_project("up", "dvc.yaml", "flows")


def test_a_folder_of_mine_can_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    require_writable("up")


@pytest.mark.skipif(SETPRIV is None, reason="needs setpriv, which Linux brings")
@pytest.mark.parametrize("command", ["build", "up"])
def test_the_project_of_a_colleague_is_one_line(repo, tmp_path, command):
    """Root may write everywhere, so the rights that make it so are dropped."""
    project = tmp_path / "project"
    for folder in ("flows", "infra"):
        shutil.copytree(repo / folder, project / folder)
    for file in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(repo / file, project / file)
    project.chmod(0o555)
    rights = ["--bounding-set=-dac_override,-dac_read_search,-fowner", "--inh-caps=-all"]
    drop = [str(SETPRIV), *rights] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*drop, sys.executable, "-m", "diffutron", command],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    project.chmod(0o755)
    said = f"error: {project} cannot be written, and `diffutron {command}` keeps its work there"
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(said), done.stderr
    assert len(done.stderr.splitlines()) == 1
