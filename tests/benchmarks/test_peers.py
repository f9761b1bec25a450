"""The comparison with peers' code: what it says without their folders, and of peers that fail."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
LLADA = ["greedy", "t1", "choice1", "choice1_one_draw", "choice3"]


@pytest.fixture
def peers(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(repo))
    monkeypatch.chdir(repo)
    return importlib.import_module("benchmarks.peers")


@pytest.fixture
def run(peers, capsys):
    """`run("--llada", folder)`: the rows, and the exit code."""

    def measured(*arguments: object) -> tuple[list[dict[str, Any]], int]:
        code = 0
        try:
            peers.main(["--shape", "tiny", "--json", *map(str, arguments)])
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()], code

    return measured


def test_without_a_folder_it_says_what_to_clone(peers, capsys):
    with pytest.raises(SystemExit, match="2"):
        peers.main(["--shape", "tiny", "--json"])
    said = capsys.readouterr()
    assert said.out == ""
    for name, url in peers.PEERS.items():
        assert f"--{name} FOLDER: git clone {url}" in said.err


def test_a_folder_without_the_peer_is_named_and_a_peer_left_out_is_told(peers, run, tmp_path):
    rows, code = run("--fork", tmp_path)
    assert code == 1
    assert [row for row in rows if "left_out" in row] == [
        {"peer": name, "left_out": f"no --{name} FOLDER; git clone {peers.PEERS[name]}"}
        for name in ("llada", "dllm")
    ]
    cases = [row for row in rows if "case" in row]
    assert [row["case"] for row in cases] == ["train_padded", "train_even"]
    wanted = f"FileNotFoundError: {tmp_path}: there is no dllm/core/trainers/mdlm.py in it"
    assert all(row["error"] == wanted for row in cases)


def test_a_peer_that_fails_or_hangs_costs_its_own_case(run, tmp_path):
    (tmp_path / "generate.py").write_text(
        "import time\n"
        "def generate(*args, temperature, **options):\n"
        "    if temperature: raise RuntimeError('out of\\norder')\n"
        "    time.sleep(600)\n"
    )
    (tmp_path / "get_log_likelihood.py").write_text(
        "import time\n"
        "def get_log_likelihood(model, prompt, answer, mc_num, batch_size, mask_id):\n"
        "    if len(answer) > 1: raise ValueError('no such\\nmodel')\n"
        "    time.sleep(0.01)\n"
        "    return model(prompt[None]).logits.sum()\n"
    )
    rows, code = run("--llada", tmp_path, "--seconds", "25", "--repeats", "2")
    found = {row["case"]: row for row in rows if "case" in row}
    assert (list(found), code) == (LLADA, 1)
    assert found["greedy"]["error"] == "TimeoutError: stopped after 25 s"
    assert found["t1"]["error"] == "RuntimeError: out of order"
    assert found["choice3"]["error"] == "ValueError: no such model"
    for case in ("choice1", "choice1_one_draw"):
        assert found[case]["rounds"] == 2
        low, high = found[case]["speedup_range"]
        assert 0 < low <= found[case]["speedup"] <= high
    assert found["choice1"]["their_seconds"] > 4 * found["choice1_one_draw"]["their_seconds"]
