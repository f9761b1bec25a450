"""The benchmark of scoring: its keys, and that one-token choices share a row."""

import pytest

from benchmarks.cetvel import LETTERS, measure, questions, scorer_of
from diffutron.evaluation.cetvel.protocols import PROTOCOLS


@pytest.fixture(autouse=True)
def _in_the_project(repo, monkeypatch):
    monkeypatch.chdir(repo)


def test_a_question_of_four_one_token_choices_costs_one_row():
    found = measure("tiny", 40)
    assert found["rows_per_item"] == 1
    assert 0 <= found["padding"] < 0.1
    assert {"overhead_ms_per_item", "model_ms_per_item", "items", "shape"} <= set(found)


def test_the_choices_are_one_token():
    scorer = scorer_of("tiny")
    (one,) = questions(1)
    encoded = scorer.encode(one.pairs, PROTOCOLS["corrected"])
    assert [len(pair.continuation) for pair in encoded] == [1] * len(LETTERS)


@pytest.mark.parametrize("words", [["--items", "0"], ["--shape", "huge"]])
def test_a_wrong_option_is_a_usage_error(monkeypatch, capsys, words):
    from benchmarks.cetvel import main

    monkeypatch.setattr("sys.argv", ["cetvel", *words])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "error" in capsys.readouterr().err
