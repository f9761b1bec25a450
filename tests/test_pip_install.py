"""For whom installs the wheel and has no clone: what works, and what says that it does not."""

import json
import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from typer.main import get_command

from diffutron.cli.app import app
from tests.support.project import copy_project

pytestmark = pytest.mark.slow

# What a command is told where it demands something; the others are called by their name alone.
ARGUMENTS = {
    "params": ["--profile", "demo"],
    "plan": ["--profile", "demo"],
    "generate": ["--model", "models/phase2", "Merhaba"],
    "infill": ["--model", "models/phase2", "Bir [MASK]."],
    "score": ["--model", "models/phase2", "Merhaba", "dünya"],
    "decide": ["--model", "models/phase2", "--question", "Kedi?", "--option", "hayvan"],
    "chat": ["--model", "models/phase2"],
    "serve": ["--model", "models/phase2", "--port", "0"],
    "tune": ["--model", "models/phase2", "--data", "my.jsonl", "--out", "my-model"],
    "trim": ["--model", "models/phase2", "--data", "texts", "--size", "24000", "--out", "small"],
    "tune-rank": ["work"],
    "sweep": ["mine.yaml"],
    "measure-text": ["--model", "m", "--corpus", "c", "--kinds", "heldout", "--out", "o"],
    "tasks": ["--tasks-dir", "my-tasks"],
    "perplexity": ["--model", "models/phase2"],
    "compare": ["models:/diffutron@champion", "models:/diffutron@challenger"],
    "gate": ["1"],
    "promote": ["1", "--by", "x", "--reason", "y"],
    "export": ["1", "--to", "out"],
    "publish": ["1", "--dry-run"],
    "reproduce": ["1", "--check"],
    "why": ["pretrain"],
}
CALLS = """
import contextlib, io, json, os, sys
from diffutron.cli.app import main

found = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["diffutron", *words]
    told, code = io.StringIO(), 0
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as end:
            code = end.code
    found.append([code, told.getvalue(), os.listdir()])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = copy_project(tmp_path_factory.mktemp("source"))
    build = [sys.executable, "-m", "uv", "build", "--wheel", "--no-build-isolation", "-q", project]
    subprocess.run(build, check=True)
    (made,) = (project / "dist").glob("*.whl")
    return made


@pytest.fixture(scope="module")
def base(wheel: Path, repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds the wheel and what it depends on, no extra."""
    folder = tmp_path_factory.mktemp("base")
    venv.create(folder)
    (inside,) = folder.glob("lib/python3*/site-packages")
    needed = tomllib.loads((repo / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    for distribution in with_dependencies(needed):
        for file in distribution.files or []:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (inside / top).exists():
                (inside / top).symlink_to(distribution.locate_file(top))
    install = [sys.executable, "-m", "uv", "pip", "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*install, "--python", folder / "bin/python", wheel], check=True)
    return folder / "bin"


def with_dependencies(needed: list[str]) -> list[metadata.Distribution]:
    """The installed distributions that these requirements bring, directly or through others."""
    found: dict[str, metadata.Distribution] = {}
    while needed:
        one = Requirement(needed.pop())
        if one.name in found or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        try:
            found[one.name] = metadata.distribution(one.name)
        except metadata.PackageNotFoundError:  # of another build of torch
            continue
        needed += found[one.name].requires or []
    return [*found.values()]


def run(*command: object, **more: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(word) for word in command], env={**environment, **more}, capture_output=True, text=True
    )


def test_the_wheel_installs_diffutron_alone(wheel, repo):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/", 1)[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"diffutron"}
    whole = {path.relative_to(repo).as_posix() for path in (repo / "diffutron").rglob("*.*")}
    assert whole == {name for name in names if name.startswith("diffutron/")}


def test_a_model_answers_from_an_empty_folder(base, tiny_model_dir, tmp_path):
    words = ["--model", tiny_model_dir, "--max-new-tokens", 4, "--num-steps", 2, "Merhaba"]
    done = run(base / "diffutron", "generate", "--json", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["prompt"] == "Merhaba"
    where = run(base / "python", "-c", "import diffutron; print(diffutron.__file__)")
    assert where.stdout.startswith(str(base.parent))
    assert run(base / "python", "-c", "import mlflow").returncode == 1
    assert [*tmp_path.iterdir()] == []


def test_the_version_is_shown(base):
    version = metadata.version("diffutron")
    assert run(base / "diffutron", "--version").stdout == f"diffutron {version}\n"


@pytest.mark.parametrize("environment", ["base", "all extras"])
def test_every_command_says_in_one_line_what_it_lacks(environment, request, tmp_path):
    """Nothing here: no clone, no model, no registry. No command leaves a file."""
    python = sys.executable if environment != "base" else request.getfixturevalue("base") / "python"
    names = [*get_command(app).commands]  # pyright: ignore[reportAttributeAccessIssue]
    assert {*ARGUMENTS} <= {*names}
    calls = [[name, *ARGUMENTS.get(name, [])] for name in names]
    done = run(python, "-c", CALLS, json.dumps(calls))
    assert done.returncode == 0, done.stderr
    for words, (code, told, left) in zip(calls, json.loads(done.stdout), strict=True):
        lines = [line for line in told.splitlines() if line.startswith("error: ")]
        assert (code, len(lines)) == (2, 1), f"{words}: exit code {code}: {told}"
        assert left == [], f"{words} left {left}"
        if words[0] in ("params", "plan", "build", "up", "why", "clean"):
            assert (
                f"`diffutron {'params' if words[0] == 'plan' else words[0]}` works in a clone"
                in told
            )
