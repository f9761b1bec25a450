"""Answers by counting: learned from the training rows of the same phase and source alone."""

from collections import Counter

import polars
import pytest

from diffutron.evaluation import instruction_baselines as module
from diffutron.evaluation.instruction_answers import HeldoutInstruction, instruction_measures
from diffutron.evaluation.instruction_baselines import baseline_answers
from diffutron.runtime.errors import UserError

NEWS = {
    "spor": ["maç gol takım", "takım lig gol", "gol kaleci maç", "lig maç hakem"],
    "ekonomi": ["borsa faiz banka", "döviz banka kur", "faiz enflasyon kur"],
}
TRAINING = {
    "phase1": [
        *[("haber", text, topic) for topic, texts in NEWS.items() for text in texts],
        ("çeviri", "bir", "one"),
        ("çeviri", "iki", "two"),
        ("çeviri", "üç", "one"),
    ],
    "phase2": [("haber", "maç gol", "evet"), ("haber", "faiz kur", "hayır")],
}


@pytest.fixture
def folder(tmp_path):
    for phase, rows in TRAINING.items():
        polars.DataFrame(rows, schema=["source", "prompt", "answer"], orient="row").write_parquet(
            tmp_path / f"{phase}_train.parquet"
        )
    return tmp_path


def asked(*rows: tuple[str, str, str], expected: str = "") -> list[HeldoutInstruction]:
    return [
        HeldoutInstruction(phase, "1", source, text, expected, []) for phase, source, text in rows
    ]


def test_they_learn_from_their_phase_and_source(folder):
    questions = asked(
        ("phase1", "haber", "hakem gol"),
        ("phase1", "haber", "banka faiz"),
        ("phase1", "çeviri", "iki"),
        ("phase2", "haber", "hakem gol"),
    )
    assert baseline_answers(folder, questions) == {
        "majority_per_source": ["spor", "spor", "one", "evet"],
        # One answer of the translations stands twice, and none of phase 2.
        "bag_of_words": ["spor", "ekonomi", "one", "evet"],
    }


def test_a_source_without_training_rows_has_no_answer(folder):
    questions = asked(("phase1", "yeni", "gol"), ("phase2", "çeviri", "bir"))
    assert baseline_answers(folder, questions) == {
        "majority_per_source": ["", ""],
        "bag_of_words": ["", ""],
    }


def test_the_bag_of_words_gives_frequent_answers_alone(folder, monkeypatch):
    monkeypatch.setattr(module, "MIN_COUNT", 4)
    found = baseline_answers(folder, asked(("phase1", "haber", "banka faiz")))
    assert found["bag_of_words"] == ["spor"]
    monkeypatch.setattr(module, "MIN_COUNT", 2)
    monkeypatch.setattr(module, "MAX_ANSWERS", 1)
    assert baseline_answers(folder, asked(("phase1", "haber", "banka faiz"))) == found


def test_rows_of_a_large_set_are_read_at_equal_distances(folder, monkeypatch):
    monkeypatch.setattr(module, "MAX_ROWS", 5)
    rows = module.training_rows(folder / "phase1_train.parquet")
    assert rows["answer"].to_list() == [answer for _, _, answer in TRAINING["phase1"][::2]]
    assert len(rows) == 5


def test_their_shares_stand_beside_the_exact_answers_of_a_model(folder):
    gold = {"hakem gol": "spor", "banka faiz": "ekonomi", "iki": "two"}
    sources = ["haber", "haber", "çeviri"]
    questions = [
        HeldoutInstruction("phase1", text, source, text, gold[text], [])
        for source, text in zip(sources, gold, strict=True)
    ]
    found, rows = instruction_measures(
        questions, ["spor", "", "two"], baseline_answers(folder, questions)
    )
    assert found["acc"] == found["bag_of_words"] == pytest.approx(2 / 3)
    assert found["majority_per_source"] == found["constant"] == pytest.approx(1 / 3)
    assert found["phase1"]["bag_of_words"] == found["bag_of_words"]
    assert found["p_value"] == pytest.approx(7 / 27)  # two or more of three, at 1/3
    again = Counter(
        name for row in rows for name, text in row["baselines"].items() if text == row["expected"]
    )
    assert again == {"bag_of_words": 2, "majority_per_source": 1}


def test_a_missing_or_damaged_file_is_named(folder):
    (folder / "phase2_train.parquet").write_bytes(b"no parquet")
    for phase in ("phase2", "phase3"):
        with pytest.raises(UserError, match=rf"{phase}_train\.parquet .*`diffutron instructions`"):
            baseline_answers(folder, asked((phase, "haber", "gol")))
