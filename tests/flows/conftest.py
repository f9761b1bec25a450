"""A Prefect server for the session, and a small pipeline in a folder of its own."""

import random
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir
from pathlib import Path

import httpx
import pytest

import flows.stage
from tests.support.project import CLONE
from tests.support.store import STORE, new_store

WORK = '''
"""A stage of the toy pipeline: does what the file that it reads says."""
import subprocess, sys, time
from pathlib import Path

name, out = sys.argv[1:]
mode = Path(f"{name}.txt").read_text().strip()
print(f"{name}: 1/2 (50 %), 1.0 it/s", flush=True)
if mode == "bad":
    sys.exit("error: corpus.min_tokens = 0: must be above 0")
if mode == "hang":
    # As a rank of a training is: a session of its own, out of reach of signals to a group.
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    print("hanging", flush=True)
    time.sleep(600)
Path(out).parent.mkdir(exist_ok=True)
text = f"# {name}: {mode}"
if name == "register":
    holds = "true" if mode == "fine" else "false"
    made = '"name": "diffutron", "version": 3, "run_id": "toy"'
    text = f'{{"registered": {holds}, {made}, "failed": ["a task fell"]}}'
Path(out).write_text(text)
'''

# The file names `register` first on purpose: the order comes from what a stage reads.
PIPELINE = """
stages:
  register:
    cmd: python work.py register registry/registered.json
    deps: [register.txt, report, work.py]
    outs: [registry/registered.json]
  tokenizer:
    cmd: python work.py tokenizer data/tokenizer
    deps: [tokenizer.txt, work.py]
    outs: [data/tokenizer]
  report:
    cmd: python work.py report report/report.md
    deps: [report.txt, metrics/corpus.json, work.py]
    outs: [report/report.md]
  corpus:
    cmd: python work.py corpus metrics/corpus.json
    deps: [corpus.txt, data/tokenizer, work.py]
    metrics:
      - metrics/corpus.json: {cache: false}
"""
STAGES = ["tokenizer", "corpus", "report", "register"]


@pytest.fixture(scope="session")
def _toy_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "pipeline"
    folder.mkdir()
    (folder / "work.py").write_text(WORK)
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "flows").symlink_to(CLONE / "flows")
    for stage in STAGES:
        (folder / f"{stage}.txt").write_text("fine")
    (folder / ".dvc").mkdir()
    # `dvc init` would leave a process behind that asks for updates.
    (folder / ".dvc" / "config").write_text("[core]\n  no_scm = true\n  check_update = false\n")
    return folder


@pytest.fixture
def toy(_toy_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: four stages, each of which does what its `STAGE.txt` says."""
    folder = tmp_path / "toy"
    shutil.copytree(_toy_once, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def _toy_store_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy-store")
    with new_store(folder) as client:
        client.create_registered_model("diffutron")
        for run_id in ("one", "two", "toy"):
            client.create_model_version("diffutron", folder.as_uri(), tags={"run_id": run_id})
        client.set_registered_model_alias("diffutron", "challenger", "3")
    return folder / STORE


@pytest.fixture
def toy_store(_toy_store_once: Path, toy: Path) -> Path:
    """The registry of the toy pipeline: it holds the version 3 that the stage `register` names."""
    return Path(shutil.copyfile(_toy_store_once, toy / "mlflow.db"))


@pytest.fixture(scope="session")
def _prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Gives the address of this process's server, and starts it where it does not answer.

    One start takes half a minute. A test that ends all that its process started ends it as well.
    """
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    home = tmp_path_factory.mktemp("prefect")
    stack = ExitStack()
    url = ""

    def address() -> str:
        nonlocal url
        if not (url and answers(f"{url}/health")):
            stack.close()
            # Prefect draws the port from `random`, which libraries seed: two processes would
            # draw the same.
            random.seed()
            with chdir(home):
                stack.enter_context(prefect_test_harness(server_startup_timeout=120))
            url = PREFECT_API_URL.value() or ""
        return url

    with stack:
        yield address


@pytest.fixture
def prefect_server(_prefect: Callable[[], str]) -> str:
    """The address of a Prefect server that answers."""
    return _prefect()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=30).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def stub_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """`stub_command(CODE)`: in the folder it returns, `python -m diffutron` is that code."""
    plain = flows.stage.run_command

    def make(code: str) -> Path:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "stub.py").write_text(code)

        def run(command, **more):
            return plain([sys.executable, "stub.py", *command[1:]], **more)

        monkeypatch.setattr(flows.stage, "run_command", run)
        return tmp_path

    return make
