"""The leaderboard end to end on a few rows: keys, stand-ins, resuming, faults, contamination."""

import json
from pathlib import Path

import pytest

from diffutron.config.section import TASKS
from diffutron.data.evaluation_sets.evaluation_sets import load_rows
from diffutron.evaluation.leaderboard.leaderboard import leaderboard
from diffutron.evaluation.leaderboard.rows import failed_checks
from diffutron.evaluation.scorers.masked_diffusion import MaskedDiffusion
from diffutron.evaluation.scorers.scorer import Scorer
from diffutron.runtime.errors import UserError

pytestmark = pytest.mark.slow

KEYS = [
    "system", "task", "stand_in", "protocol", "shots", "n", "correct", "acc", "acc_norm", "low",
    "high", "chance", "constant", "published", "sanity_checks",
]  # fmt: skip


@pytest.fixture(scope="module")
def board(place, options):
    only = ["random", "constant", "bow", "tiny", "absent"]
    results = leaderboard(options(place / "out", only=only))
    assert results is not None
    return results


def rows_of(board, system):
    return {row["task"]: row for row in board["rows"] if row["system"] == system}


def test_rows_have_the_promised_keys_first(board):
    for row in board["rows"]:
        assert list(row)[: len(KEYS)] == KEYS
        assert row["shots"] == 0
        assert row["protocol"] == "corrected"
    assert len(board["rows"]) == 4 * len(TASKS)


def test_stand_ins_are_named_for_what_they_are(board):
    rows = rows_of(board, "tiny")
    assert {row["task"]: row["stand_in"] for row in rows.values() if row["stand_in"]} == {
        "standin_mrc4_from_xquad_tr": "belebele_tr",
        "standin_nli_2way_from_sts_tr": "mnli_tr",
    }
    assert rows["news_cat"]["published"] == 0.324
    assert rows["standin_mrc4_from_xquad_tr"]["published"] is None, "another set was published"


def test_baselines_have_their_exact_expectations(board, rows_dir):
    constant, chance = rows_of(board, "constant"), rows_of(board, "random")
    for row in constant.values():
        assert row["acc"] == row["constant"] == row["acc_norm"]
    assert chance["exams_tr"]["chance"] == 0.25
    assert chance["standin_nli_2way_from_sts_tr"]["chance"] == 0.5
    golds = [row["label"] for row in load_rows("news_cat", source="local", folder=rows_dir).rows]
    assert constant["news_cat"]["constant"] == max(map(golds.count, golds)) / len(golds)


def test_the_supervised_column_learns_where_there_is_a_training_split(board):
    rows = rows_of(board, "bow")
    assert rows["news_cat"]["acc"] == 1.0
    assert {task for task, row in rows.items() if row["acc"] is None} == {
        "standin_mrc4_from_xquad_tr", "ironytr", "standin_nli_2way_from_sts_tr", "xcopa_tr",
    }  # fmt: skip
    assert all(row["supervised"] for row in rows.values())
    assert rows["xcopa_tr"]["n"] == 6
    assert rows["xcopa_tr"]["chance"] == 0.5
    (exams,) = [one for one in board["sets"] if one["task"] == "exams_tr"]
    assert (exams["training_rows"], exams["training_dropped"]) == (12, {"does not fit": 1})


def test_sanity_checks_stand_beside_every_number(board):
    for row in rows_of(board, "tiny").values():
        checks = row["sanity_checks"]
        assert checks["oracle"] is checks["target"] is checks["batch"] is True, row
        listed = row["stand_in"] == "belebele_tr"
        assert checks["shuffled"] is (None if listed else True)
        assert checks["context"] is True
        told = row["sanity_check_details"]["random_weights"]
        assert (checks["random_weights"] is None) == ("cannot fail" in told)
    assert not [fault for fault in failed_checks(board) if "random_weights" not in fault]


def test_pairs_cover_every_task_and_the_mean(board):
    between = [p for p in board["pairs"] if (p["a"], p["b"]) == ("random", "tiny")]
    assert [p["task"] for p in between] == [*rows_of(board, "tiny"), "mean"]
    taught = [p["task"] for p in board["pairs"] if (p["a"], p["b"]) == ("bow", "tiny")]
    assert taught == ["exams_tr", "news_cat", "sts_tr", "mean"]
    assert {p["verdict"] for p in board["pairs"]} <= {"better", "worse", "cannot be told"}


def test_what_is_not_at_hand_is_named_with_the_reason(board):
    (missing,) = board["not_scored"]
    assert missing["system"] == "absent"
    assert "no folder no/such/folder" in missing["reason"]
    assert [one["system"] for one in board["published"]] == ["tiny"]


def test_items_seen_in_training_are_told_apart(board):
    row = rows_of(board, "tiny")["news_cat"]
    assert 1 <= row["contaminated"] <= row["findable"] <= row["n"]
    assert rows_of(board, "tiny")["xcopa_tr"]["contaminated"] == 0
    baseline = rows_of(board, "random")["news_cat"]
    assert (baseline["contaminated"], baseline["findable"]) == (None, None)
    assert row["acc_uncontaminated"] is not None


def test_what_was_scored_is_named_to_the_bytes(board):
    (model,) = board["models"]
    assert (model["system"], model["commit"], model["dtype"]) == ("tiny", None, "float32")
    assert len(model["digest"]) == 64
    assert Path(model["model"]).is_dir()


def test_answers_to_items_are_left_for_checking(board, place):
    path = place / "out" / "items" / "tiny.corrected.news_cat.jsonl"
    items = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    row = rows_of(board, "tiny")["news_cat"]
    assert sum(item["correct"] for item in items) == row["correct"]
    norm = [item["predicted_norm"] == item["gold"] for item in items]
    assert sum(norm) / len(norm) == row["acc_norm"]
    assert json.loads((place / "out" / "leaderboard.json").read_text()) == board


def test_a_second_run_loads_no_model_and_gives_the_same(board, place, options, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("everything is cached")

    monkeypatch.setattr("diffutron.evaluation.leaderboard.leaderboard.load", refuse)
    only = ["random", "constant", "bow", "tiny", "absent"]
    assert leaderboard(options(place / "out", only=only)) == board


def test_a_run_that_was_killed_loses_one_batch_at_most(board, options, tmp_path, monkeypatch):
    asked: list[int] = []
    plain = MaskedDiffusion.score

    def count(self, pairs):
        if len(asked) == 5:
            raise KeyboardInterrupt
        asked.append(len(pairs))
        return plain(self, pairs)

    monkeypatch.setattr(MaskedDiffusion, "score", count)
    with pytest.raises(KeyboardInterrupt):
        leaderboard(options(tmp_path, only=["tiny"]))
    kept = [line for path in (tmp_path / "cache").glob("*.jsonl")
            for line in path.read_bytes().splitlines() if line]  # fmt: skip
    assert sum(len(json.loads(line)["logprobs"]) for line in kept) == sum(asked)
    torn = next((tmp_path / "cache").glob("*.jsonl"))
    torn.write_bytes(torn.read_bytes()[:-20])  # a line that the kill cut off
    again: list[int] = []
    monkeypatch.setattr(
        MaskedDiffusion, "score", lambda self, pairs: (again.append(1), plain(self, pairs))[1]
    )
    results = leaderboard(options(tmp_path, only=["tiny"]))
    assert results is not None
    mine = [{**row, "sanity_check_details": 0} for row in results["rows"]]
    assert mine == [{**row, "sanity_check_details": 0} for row in rows_of(board, "tiny").values()]


def test_a_system_that_breaks_does_not_stop_the_others(options, tmp_path, monkeypatch):
    def out_of_memory(*_):
        raise RuntimeError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr(MaskedDiffusion, "score", out_of_memory)
    results = leaderboard(options(tmp_path, only=["tiny", "random"], tasks=["xcopa_tr"]))
    assert results is not None
    assert [one["system"] for one in results["rows"]] == ["random"]
    assert results["not_scored"] == [
        {"system": "tiny", "reason": "CUDA out of memory. Tried to allocate"}
    ]


def test_a_run_without_any_score_says_why(options, tmp_path):
    with pytest.raises(UserError, match=r"^bow: no training split \(ironytr\)$"):
        leaderboard(options(tmp_path, only=["bow"], tasks=["ironytr"]))
    assert not (tmp_path / "leaderboard.json").exists()
    results = leaderboard(options(tmp_path, only=["bow"], tasks=["ironytr", "news_cat"]))
    assert results is not None
    assert {row["task"]: row["why"] for row in results["rows"]} == {
        "ironytr": "no training split",
        "news_cat": None,
    }


def test_an_adapter_that_drops_the_first_token_is_caught(options, tmp_path, monkeypatch):
    plain = Scorer.encode

    def broken(self, pairs, protocol):
        from dataclasses import replace

        found = plain(self, pairs, protocol)
        return [replace(pair, continuation=pair.continuation[1:]) for pair in found]

    monkeypatch.setattr(Scorer, "encode", broken)
    results = leaderboard(options(tmp_path, only=["tiny"], tasks=["news_cat"]))
    assert results is not None
    (row,) = results["rows"]
    assert row["sanity_checks"]["target"] is False
    assert "was scored as" in row["sanity_check_details"]["target"]
    assert failed_checks(results)


def test_an_adapter_that_drops_it_while_scoring_is_caught(options, tmp_path, monkeypatch):
    from dataclasses import replace

    plain = MaskedDiffusion.score
    monkeypatch.setattr(
        MaskedDiffusion,
        "score",
        lambda self, pairs: plain(
            self, [replace(pair, continuation=pair.continuation[1:]) for pair in pairs]
        ),
    )
    results = leaderboard(options(tmp_path, only=["tiny"], tasks=["sts_tr"]))
    assert results is not None
    assert results["rows"][0]["sanity_checks"]["target"] is False
    assert "another number of tokens" in results["rows"][0]["sanity_check_details"]["target"]


def test_the_public_encoding_is_marked_where_it_loses_a_token(options, tmp_path):
    results = leaderboard(options(tmp_path, only=["tiny"], tasks=["ironytr"], protocol="dllm"))
    assert results is not None
    (row,) = results["rows"]
    assert row["protocol"] == "dllm"
    assert row["sanity_checks"]["target"] is False


def test_both_protocols_few_shot_and_a_limit(options, tmp_path):
    results = leaderboard(
        options(tmp_path, only=["random"], tasks=["news_cat"], protocol="both", limit=3, shots=2)
    )
    assert results is not None
    found = [(row["protocol"], row["n"], row["shots"]) for row in results["rows"]]
    assert found == [("corrected", 3, 2), ("cetvel", 3, 2)]
    assert results["options"]["limit"] == 3


def test_the_built_in_sample_is_a_stand_in_throughout(options, tmp_path):
    results = leaderboard(options(tmp_path, only=["random"], data="sample", limit=4))
    assert results is not None
    assert {row["stand_in"] for row in results["rows"]} == set(TASKS)
    assert {row["task"] for row in results["rows"]} == {f"sample_{task}" for task in TASKS}
