"""`diffutron build`: the flow from the shell; its exit code, and what it says at the end."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from diffutron.registry.mlflow_client import experiment_id, tracking
from flows.stage import environment

pytestmark = pytest.mark.slow
# Nothing on this machine may be asked through them.
PROXIES = {"http_proxy": "http://127.0.0.1:9", "ALL_PROXY": "socks5://127.0.0.1:9", "no_proxy": ""}


@pytest.fixture
def build(toy, prefect_server, repo):
    """Run with options; the stages work in the toy folder, the server is that of the session."""
    shutil.copyfile(repo / "params.yaml", "params.yaml")

    def start(*options: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "diffutron", "build", *options],
            env={**environment(), "PREFECT_API_URL": prefect_server, **PROXIES},
            capture_output=True,
            text=True,
        )

    return start


@pytest.fixture
def measured(toy):
    """What the stages of a real build leave for the last lines."""
    answer = {"prompt": "Kaç?", "expected": "Üç", "generated": "Üç"}
    Path("data/evaluation").mkdir(parents=True)
    Path("data/evaluation/instructions_phase2.jsonl").write_text(json.dumps(answer))
    Path("metrics").mkdir()
    Path("metrics/full.json").write_text('{"models": {"phase2": {"bits_per_byte": 0.5}}}')


def errors(done: "subprocess.CompletedProcess[str]") -> list[str]:
    assert "Traceback" not in done.stderr, done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


@pytest.mark.usefixtures("measured", "toy_store")
def test_exit_codes_and_last_lines(build):
    """0: done, registered or up to date. 1: refused by the gate, however often it is asked."""
    done = build("--last", "report")
    assert done.returncode == 0, done.stderr
    assert "| tokenizer | Finished in state Completed('done')" in done.stderr
    assert "bits a byte, held-out text" in done.stdout
    assert "Kaç?\n-> Üç" in done.stdout
    assert done.stdout.index("Nothing was registered. Next:") > done.stdout.index("Kaç?")
    assert Path(".prefect").exists()

    Path(".dvc/tmp/rwlock").write_text('{"read": {')  # a DVC was killed while it wrote its locks
    done = build()
    assert (done.returncode, errors(done)) == (0, [])
    assert "ran register" in done.stderr
    assert "Registered as version 3, alias challenger. Next:" in done.stdout
    again = build()
    assert again.returncode == 0, again.stderr
    assert "ran nothing" in again.stderr

    Path("register.txt").write_text("refuse")
    for done in (build(), build()):  # up to date does not mean accepted
        assert done.returncode == 1
        assert errors(done) == ["error: the gate refuses the model: a task fell"]
        assert "Logged but not registered: a task fell. Next:" in done.stdout


@pytest.mark.usefixtures("toy_store")
def test_a_failure_ends_with_one_line_that_says_why(build, monkeypatch):
    """Its run in MLflow, which was there from the start, says the same."""
    monkeypatch.setenv("DIFFUTRON_TRACKING", "on")
    Path("tokenizer.txt").write_text("bad")
    done = build("--last", "tokenizer")
    assert done.returncode == 1
    reason = "corpus.min_tokens = 0: must be above 0 (exit code 1)"
    assert errors(done)[-1] == f"error: tokenizer: {reason}"
    with tracking() as client:
        (run,) = client.search_runs([experiment_id(client)])
    assert run.info.status == "FAILED"
    assert run.data.tags["mlflow.note.content"] == f"tokenizer: {reason}"
    assert run.data.tags["entry_point"] == "flow build"
    assert run.data.params["pretrain.training.steps"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--profile", "huge"], "profile `huge` is unknown; choose one of demo, paper, small"),
        (["-S", "seed"], "override seed: write -S key=value"),
        (["--profile", "demo", "-S", "sed=1"], "override sed=1: unknown key `sed`; allowed here:"),
        (["-S", "seed=-1"], "override seed=-1: `seed` = -1: input should be greater than"),
        (
            ["-S", "evaluation.items=3"],
            "override evaluation.items=3: `evaluation.items` is now called `evaluate.max_items`",
        ),
        (["--first", "register", "--last", "corpus"], "the stage register comes after corpus"),
        (["--profile", "demo", "-S", "seed=2"], "params.yaml holds changes made by hand"),
    ],
)
def test_a_mistake_is_one_line_and_code_2_before_anything_runs(toy, repo, options, said):
    Path("infra").mkdir()
    Path("infra/profiles").symlink_to(repo / "infra" / "profiles")
    text = (repo / "params.yaml").read_text("utf-8").replace("seed: 13", "seed: 5")
    Path("params.yaml").write_text(text, "utf-8")
    before = {*Path().rglob("*")}
    done = subprocess.run(
        [sys.executable, "-m", "diffutron", "build", *options], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"error: {said}")
    assert Path("params.yaml").read_text("utf-8") == text
    assert {path for path in {*Path().rglob("*")} - before if ".prefect" not in path.parts} == set()


def test_a_server_that_is_down_is_one_line(toy, repo):
    shutil.copyfile(repo / "params.yaml", "params.yaml")
    done = subprocess.run(
        [sys.executable, "-m", "diffutron", "build"],
        env={**environment(), "PREFECT_API_URL": "http://127.0.0.1:9/api"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "error: Prefect at http://127.0.0.1:9/api: no answer; start the server (`diffutron up`) or "
        "unset PREFECT_API_URL to use a temporary one\n"
    )
