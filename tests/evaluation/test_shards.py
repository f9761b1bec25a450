"""A leaderboard over several processes: disjoint parts, one result, one fate."""

import json
import subprocess
import sys

import pytest

from diffutron.evaluation.leaderboard.leaderboard import RESULTS, Options, leaderboard
from diffutron.evaluation.scoring.score_system import Shard, together

SYSTEMS = """
scoring: {{max_rows: 4, batch_tokens: 400, seed: 13}}
contamination:
  {{ngram: 2, min_words: 3, min_item_words: 3, threshold: 0.3,
   short_threshold: 0.85, whole_fields: null}}
systems:
  - {{name: random, architecture: baseline}}
  - {{name: tiny, architecture: masked_diffusion, model: {model}}}
"""


@pytest.mark.slow
def test_two_ranks_of_torchrun_give_the_results_of_one(tmp_path, tiny_model_dir, rows_dir):
    listed = tmp_path / "systems.yaml"
    listed.write_text(SYSTEMS.format(model=tiny_model_dir))
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "-m", "diffutron", "leaderboard"),
            *("--systems", str(listed), "--data", str(rows_dir)),
            *("--tasks", "ironytr,news_cat", "--out", str(tmp_path / "two")),
        ],
        check=True,
        timeout=300,
    )
    alone = leaderboard(
        Options(
            out=tmp_path / "one", systems=listed, data=str(rows_dir), tasks=["ironytr", "news_cat"]
        )
    )
    assert json.loads((tmp_path / "two" / RESULTS).read_text()) == json.loads(json.dumps(alone))
    for task in ("ironytr", "news_cat"):
        parts = [
            {json.loads(line)["key"] for line in path.read_bytes().splitlines()}
            for path in sorted((tmp_path / "two" / "cache").glob(f"tiny.*.{task}-*.rank?.jsonl"))
        ]
        assert len(parts) == 2
        assert abs(len(parts[0]) - len(parts[1])) <= 1
        assert not parts[0] & parts[1]


def test_what_fails_on_one_rank_fails_on_all(monkeypatch):
    import torch.distributed as dist

    assert together(Shard(), lambda: 7) == 7
    with pytest.raises(ValueError, match="mine"):
        together(Shard(), lambda: int("mine"))
    monkeypatch.setattr(dist, "all_reduce", lambda fine, op: fine.fill_(0))
    with pytest.raises(RuntimeError, match="another rank"):
        together(Shard(1, 2), lambda: 7)
