"""`diffutron leaderboard --data hub`: systems and sets by their names, from a hub on loopback."""

import pytest

from diffutron.data.evaluation_sets.places import HUB
from diffutron.evaluation.leaderboard.leaderboard import Options, leaderboard
from diffutron.sample import evaluation_set
from tests.support.checkpoints import save_model
from tests.support.published_hub import write_set

pytestmark = pytest.mark.slow
TASKS = ["ironytr", "xcopa_tr"]
SYSTEMS = {
    "diffutron-2nd": ("diffutron/DiffutronLM-0.3B-Instruct", "modernbert"),
    "kumru-2b": ("vngrs-ai/Kumru-2B", "llama"),
    "turna": ("boun-tabi-LMG/TURNA", "t5"),
}


@pytest.fixture
def board(hub, repo, tiny_tokenizer_dir, tmp_path):
    """`board()`: the results of one diffusion, one causal and one T5 model on two sets."""
    for name, kind in SYSTEMS.values():
        save_model(
            kind, hub.store.folder / "models" / name, tiny_tokenizer_dir, begin=True, end=True
        )
    for task in TASKS:
        write_set(hub.store.folder, HUB[task], [*evaluation_set(task)])

    def run(out: str):
        options = Options(
            out=tmp_path / out,
            systems=repo / "infra/systems.yaml",
            only=[*SYSTEMS],
            tasks=TASKS,
            data="hub",
            limit=3,
        )
        return leaderboard(options)

    return run


def test_each_architecture_is_scored_at_a_commit(board):
    found = board("out")
    assert found["not_scored"] == []
    assert {(row["system"], row["task"]) for row in found["rows"]} == {
        (system, task) for system in SYSTEMS for task in TASKS
    }
    assert {len(model["commit"]) for model in found["models"]} == {40}


def test_a_download_that_fails_costs_its_system_alone(board, hub, monkeypatch):
    monkeypatch.setattr("diffutron.runtime.hub.PATIENCE", 1.5)
    hub.faults[:] = [{"match": "TURNA", "do": "drop"}, {"match": "CDN .*Kumru", "do": "spoil"}]
    found = board("out")
    assert {row["system"] for row in found["rows"]} == {"diffutron-2nd"}
    reasons = {one["system"]: one["reason"] for one in found["not_scored"]}
    assert "the hub hangs up" in reasons["turna"]
    assert "gives other bytes for model.safetensors" in reasons["kumru-2b"]
