"""Items of the sets in the training data of a run: found, counted once, looked for once."""

import polars
import pytest

from diffutron.config.data_params import ContaminationRules
from diffutron.evaluation.cetvel.asked import choose_protocols, read_material
from diffutron.evaluation.scoring.contamination import (
    contaminated_rows,
    training_files,
    training_texts,
)

RULES = ContaminationRules(
    ngram=2, min_words=3, min_item_words=3, threshold=0.9, short_threshold=0.85, whole_fields=None
)


@pytest.fixture
def asked(rows_dir):
    found, _ = read_material(
        ["news_cat", "xcopa_tr"], choose_protocols("both"), data=str(rows_dir), shots=0,
        limit=None, seed=0,
    )  # fmt: skip
    return [task.dataset for task in found]


@pytest.fixture
def folders(tmp_path):
    corpus, instructions = tmp_path / "corpus", tmp_path / "instructions"
    corpus.mkdir()
    instructions.mkdir()
    texts = ["Dün haber sport 0 vardı.", "Dün haber sport 0 vardı.", "Başka bir metin."]
    polars.DataFrame({"text": texts}).write_parquet(corpus / "train.parquet")
    polars.DataFrame({"text": ["haber magazine 1"]}).write_parquet(corpus / "heldout.parquet")
    rows = {"prompt": ["haber health"], "answer": ["3 günde"]}
    polars.DataFrame(rows).write_parquet(instructions / "phase1_train.parquet")
    return [corpus, instructions]


def test_texts_are_what_was_trained_on(folders):
    assert [path.name for path in training_files(folders)] == [
        "train.parquet",
        "phase1_train.parquet",
    ]
    assert list(training_texts(training_files(folders)))[-1] == "haber health\n3 günde"


def test_touched_items_are_named_by_row_and_kept(asked, folders, tmp_path, monkeypatch):
    found = contaminated_rows(asked, folders, RULES, tmp_path / "cache")
    assert found == {"news_cat": [1, 4], "xcopa_tr": []}

    def refuse(*_):
        raise AssertionError("looked for already")

    monkeypatch.setattr("diffutron.evaluation.scoring.contamination.Contamination", refuse)
    assert contaminated_rows(asked, folders, RULES, tmp_path / "cache") == found


def test_without_training_data_nothing_is_claimed(asked, tmp_path):
    assert contaminated_rows(asked, [tmp_path / "none"], RULES, tmp_path / "cache") is None
