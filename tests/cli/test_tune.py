"""`diffutron tune` from the shell: one JSON object on standard output, codes, one line per
mistake."""

import json
import subprocess
import sys

import pytest

from tests.tuning.conftest import SHORT, write_rows

pytestmark = pytest.mark.slow
SETTINGS = [part for one in SHORT for part in ("-S", one)]


def tune(*words: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "diffutron", "tune", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("ranks", [1, 2])
def test_json_alone_is_on_standard_output(ranks, tiny_model_dir, tmp_path, monkeypatch):
    """Lines of the ranks go to standard error too."""
    monkeypatch.setenv("DIFFUTRON_RANKS", str(ranks))
    data = write_rows(tmp_path / "my.jsonl")
    out = tmp_path / "my-model"
    done = tune("--model", tiny_model_dir, "--data", data, "--out", out, *SETTINGS, "--json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert values.keys() >= {"before", "after", "rows", "dropped", "seconds", "model"}
    assert values["model"] == str(out)
    assert values["after"]["bits_per_byte"] < values["before"]["bits_per_byte"]
    assert "tune: 63 rows read, 50 to learn, 10 held out" in done.stderr
    record = json.loads((out / "training.json").read_text())
    assert record["world_size"] == ranks


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data", "absent.jsonl"], "absent.jsonl: there is no such file"),
        (["--data", "my.jsonl", "-S", "no.such=1"], "unknown key `no`"),
        (["--data", "my.jsonl", "--register"], "a project that was built"),
        (["--data", "my.jsonl", "--model", "no such folder"], "there is no such folder"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(words, said, tiny_model_dir, tmp_path):
    write_rows(tmp_path / "my.jsonl")
    model = [] if "--model" in words else ["--model", tiny_model_dir]
    done = tune(*model, *words, "--out", "my-model")
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "my-model").exists()
