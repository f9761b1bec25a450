"""What one clone registers and pushes, another one pulls, loads and serves; S3 keeps it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from diffutron.training.hosts import free_port

from ..registry.conftest import good_summary, write_build
from .services.clone import commit, git, make_repository
from .services.processes import Service, running
from .services.team import API_KEY, BUCKET

pytestmark = [pytest.mark.infra, pytest.mark.timeout(900)]
PROMPT = "Türkiye'nin başkenti neresidir?"
NEW_TOKENS = 4
JSON = {"Content-Type": "application/json"}
LOAD = """
import sys
import diffutron

lm = diffutron.load("models:/diffutron@champion", device="cpu")
print(diffutron.generate(lm, [sys.argv[1]], max_new_tokens=int(sys.argv[2]))[0].text)
"""


class Clone:
    """A clone of the project, and a member of the team who works in it."""

    def __init__(self, origin: Path, folder: Path, environment: dict[str, str]):
        git(folder.parent, "clone", "-q", str(origin), str(folder))
        self.folder = folder
        self.environment = environment | {"PYTHONPATH": str(folder)}

    def run(self, *command: str, fails: bool = False) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert bool(done.returncode) == fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    def dvc(self, *arguments: str, fails: bool = False) -> str:
        return self.run("-m", "dvc", *arguments, fails=fails)

    def diffutron(self, *arguments: str) -> str:
        return self.run("-m", "diffutron", *arguments)


@pytest.fixture(scope="module")
def origin(tmp_path_factory, team) -> Path:
    """The repository of the team, with its DVC remote after infra/README.md."""
    folder = make_repository(tmp_path_factory.mktemp("origin") / "diffutron")
    for arguments in (
        ["add", "-d", "shared", f"s3://{BUCKET}/dvc"],
        ["modify", "shared", "endpointurl", team.s3.endpoint],
    ):
        command = [sys.executable, "-m", "dvc", "remote", *arguments]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    commit(folder, "the remote of the team")
    git(folder, "config", "receive.denyCurrentBranch", "updateInstead")
    return folder


@pytest.fixture(scope="module")
def first(origin, team, tiny_model_dir) -> Clone:
    """It has run a stage and registered a model of two layers, pushed both, and promoted it."""
    clone = Clone(origin, origin.parent / "first", team.member())
    build = write_build(clone.folder / "build", good_summary(), tiny_model_dir)
    (clone.folder / "build/dvc.lock").unlink()
    shutil.move(build["model"], clone.folder / "tiny")
    clone.dvc("add", "tiny")
    clone.dvc("repro", "tokenizer")
    commit(clone.folder, "a tokenizer and a tiny model")
    paths = {name.replace("_", "-"): str(path) for name, path in build.items()}
    paths["model"] = "tiny"
    options = [part for name, path in paths.items() for part in (f"--{name}", path)]
    assert "registered diffutron version 1" in clone.diffutron("register", *options)
    told = clone.diffutron("promote", "1", "--by", "kurul", "--reason", "the first one")
    assert "champion: version 1" in told
    clone.dvc("push")
    git(clone.folder, "push", "-q", "origin", "HEAD")
    return clone


@pytest.fixture(scope="module")
def second(first, origin, team) -> Clone:
    return Clone(origin, origin.parent / "second", team.member())


def test_the_bucket_holds_both(first, team):
    keys = team.s3.keys(BUCKET)
    assert any(key.startswith("dvc/files/md5/") for key in keys)
    assert any(key.startswith("mlflow/") and key.endswith(".safetensors") for key in keys)


def test_a_wrong_secret_neither_pulls_nor_pushes(second, team):
    """`dvc status -c` is not asked: it says "in sync" here."""
    good, second.environment = (
        second.environment,
        second.environment | {"AWS_SECRET_ACCESS_KEY": "wrong"},
    )
    try:
        assert "ERROR" in second.dvc("pull", fails=True)
        (second.folder / "mine").write_text("new")
        second.dvc("add", "mine")
        assert "ERROR" in second.dvc("push", "mine.dvc", fails=True)
    finally:
        second.environment = good
    assert not (second.folder / "tiny").exists()
    digest = second.run("-c", "import hashlib; print(hashlib.md5(b'new').hexdigest())").strip()
    assert f"dvc/files/md5/{digest[:2]}/{digest[2:]}" not in team.s3.keys(BUCKET)


def test_it_pulls_the_same_files(second, first):
    second.dvc("pull", "tokenizer", "tiny.dvc")  # the other stages have not run
    for name in ("tiny", "data/tokenizer"):
        files = sorted(path.name for path in (first.folder / name).iterdir())
        assert files == sorted(path.name for path in (second.folder / name).iterdir())
        for file in files:
            one, other = first.folder / name / file, second.folder / name / file
            assert one.read_bytes() == other.read_bytes(), file


def test_it_loads_and_serves_the_champion(second):
    """What the server answers over HTTP is what `diffutron.load` gives."""
    told = second.run("-c", LOAD, PROMPT, str(NEW_TOKENS)).removesuffix("\n")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m"]
    command += ["models:/diffutron@champion", "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    elsewhere = second.folder.parent / "elsewhere"  # the code that travels with the version answers
    elsewhere.mkdir()
    environment = {k: v for k, v in second.environment.items() if k != "PYTHONPATH"}
    server = Service("serve", command, environment, elsewhere)
    with running(server):
        server.wait_for_answer(f"http://127.0.0.1:{port}/ping")
        asked = {"inputs": [PROMPT], "params": {"max_new_tokens": NEW_TOKENS}}
        url = f"http://127.0.0.1:{port}/invocations"
        answer = httpx.post(url, content=json.dumps(asked), timeout=120, headers=JSON)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"predictions": [told]}


def test_the_server_of_the_team_serves_the_champion(second, team):
    """The command of infra/compose.yaml, with the key that others need."""
    told = second.run("-c", LOAD, PROMPT, str(NEW_TOKENS)).removesuffix("\n")
    server = team.services["serve"]
    url = f"http://127.0.0.1:{team.ports['serve']}"
    asked = {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": NEW_TOKENS}

    def ask(key: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.post(f"{url}/v1/chat/completions", json=asked, headers=headers, timeout=120)

    with running(server):
        server.wait_until(lambda: team.healthy("serve"))
        assert ask("wrong").status_code == 401
        answer = ask(API_KEY)
        assert httpx.get(f"{url}/ready").json()["version"] == 1
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == told
    assert API_KEY not in server.log()
