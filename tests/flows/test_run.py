"""`python -m flows.run`: the flow from the shell."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flows.stage import environment


@pytest.fixture
def run(toy, prefect_server):
    """Run with options; the stages work in the toy folder, the server is that of the session."""

    def start(*options: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "flows.run", *options],
            env={**environment(), "PREFECT_API_URL": prefect_server},
            capture_output=True,
            text=True,
        )

    return start


def test_it_ends_with_the_results(run):
    answer = {"prompt": "Kaç?", "expected": "Üç", "generated": "Üç"}
    Path("data/evaluation").mkdir(parents=True)
    Path("data/evaluation/instructions_phase2.jsonl").write_text(json.dumps(answer))
    Path("metrics").mkdir()
    Path("metrics/summary.json").write_text('{"models": {"phase2": {"bits_per_byte": 0.5}}}')
    done = run("--last", "report")
    assert done.returncode == 0, done.stderr
    assert "| tokenizer | Finished in state Completed('done')" in done.stderr
    assert "bits a byte, held-out text" in done.stdout
    assert "Kaç?\n-> Üç" in done.stdout
    assert done.stdout.index("Nothing was registered. Next:") > done.stdout.index("Kaç?")
    assert Path(".prefect").exists()


def test_a_failure_ends_with_one_line_that_says_why(run):
    Path("tokenizer.txt").write_text("bad")
    done = run("--last", "tokenizer")
    assert done.returncode == 1
    last = [line for line in done.stderr.splitlines() if line.startswith("error: ")][-1]
    reason = "corpus.min_tokens = 0: must be above 0 (exit code 1)"
    assert last == f"error: tokenizer: {reason}"
    assert "Traceback" not in done.stderr


def test_an_unknown_profile_lists_the_known(run):
    done = run("--profile", "huge")
    assert done.returncode == 2
    assert "demo" in done.stderr
    assert "small" in done.stderr


def test_a_server_that_is_down_is_one_line(toy):
    done = subprocess.run(
        [sys.executable, "-m", "flows.run"],
        env={**environment(), "PREFECT_API_URL": "http://127.0.0.1:9/api"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "error: Prefect at http://127.0.0.1:9/api: no answer; start the server (`diffutron up`) or "
        "unset PREFECT_API_URL to use a temporary one\n"
    )
