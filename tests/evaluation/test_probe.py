"""The probe: embeddings are means of hidden states, and what they hold is what is read off them."""

import numpy as np
import pytest
import torch

from diffutron.data.evaluation_sets.evaluation_sets import load_rows, load_sets, training_set
from diffutron.evaluation import probe as probing
from diffutron.evaluation.cetvel.asked import EvalTask
from diffutron.evaluation.cetvel.protocols import PROTOCOLS
from diffutron.evaluation.probe import FORMS, SEEDS, embed, probe, probe_numbers, read_probes


@pytest.fixture
def local(rows_dir, tmp_path, monkeypatch):
    (tmp_path / "cetvel").symlink_to(rows_dir)
    monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
    return tmp_path


def task_of(name, folder):
    rows = load_rows(name, source="local", folder=folder)
    training = training_set(name, source="local", folder=folder)
    assert training
    return EvalTask.draw(rows, PROTOCOLS["corrected"], limit=None, seed=0, training=training)


def test_an_embedding_is_the_mean_of_hidden_states_whatever_else_is_read(tiny, monkeypatch):
    model, tokenizer = tiny
    texts = ["Kedi uyudu.", "Köpek evde bekliyor, kuş ağaçta ötüyor.", "Kedi uyudu.", "Ankara"]
    wanted = []
    for text in texts:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            wanted.append(model.model(ids).last_hidden_state[0].mean(0).numpy())
    for size in (1, 16, 8192):
        monkeypatch.setattr(probing, "BATCH_TOKENS", size)
        np.testing.assert_allclose(embed(model, tokenizer, texts), np.stack(wanted), atol=1e-5)


def test_a_text_that_is_longer_than_the_model_is_cut(tiny):
    model, tokenizer = tiny
    found = embed(model, tokenizer, ["Kedi " * 5000])
    assert np.isfinite(found).all()


def spelled(form, docs, dice):
    """Vectors that hold the class of each example, and a little noise."""
    found = []
    for doc in docs:
        labels = form.labels(doc)
        for n in range(len(form.texts(doc))):
            is_told = form.choices or n == 0
            vector = 10.0 * is_told * np.eye(8)[labels[n] if form.choices else labels[0]]
            found.append(vector + 0.01 * dice.normal(size=8))
    return np.stack(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_what_the_vectors_hold_is_found_and_nothing_else(name, rows_dir, monkeypatch):
    task, form = task_of(name, rows_dir), FORMS[name]
    dice = np.random.default_rng(0)
    known = training_set(name, source="local", folder=rows_dir)
    assert known
    told = spelled(form, [*known.rows, *(one.doc for one in task.questions)], dice)
    shares = {}
    for kind, vectors in {"told": told, "random": dice.normal(size=told.shape)}.items():
        monkeypatch.setattr(probing, "embed", lambda *_, vectors=vectors: vectors)
        right = probe(None, None, task, seed=3)
        assert right.shape == (SEEDS, len(task.questions))
        assert (probe(None, None, task, seed=3) == right).all()
        shares[kind] = right.mean()
    assert shares["told"] > 0.8, "with four rows a class, one of them may be missed"
    assert shares["random"] < 0.6


def test_the_numbers_of_a_probed_task(rows_dir):
    task = task_of("news_cat", rows_dir)
    n = len(task.questions)
    base = np.zeros((SEEDS, n))
    tuned = np.ones((SEEDS, n))
    tuned[:, 0] = 0
    right = {"base": {"news_cat": base}, "phase2": {"news_cat": tuned}}
    found = probe_numbers([task], {"sts_tr": "why"}, right, seed=0)
    assert found["sts_tr"] == {"models": None, "reason": "why"}
    news = found["news_cat"]
    assert (news["n"], news["training_rows"], news["chance"]) == (n, 25, 0.2)
    assert news["bag_of_words"] == 1.0
    final = news["models"]["phase2"]
    assert final["acc"] == pytest.approx(1 - 1 / n)
    assert final["low"] <= final["acc"] <= final["high"] <= 1
    assert final["acc_by_seed"] == pytest.approx([1 - 1 / n] * SEEDS)
    assert final["against_base"]["difference"] == pytest.approx(1 - 1 / n)
    assert news["models"]["base"]["against_base"] == {"difference": 0, "low": 0, "high": 0}


def test_what_is_not_probed_says_why(make_params, local):
    def read(tasks=tuple(FORMS), **changes):
        section = make_params({f"evaluate.{key}": value for key, value in changes.items()}).evaluate
        folder = local if section.source == "local" else None
        sets, _ = load_sets(tasks, source="local" if folder else "sample", folder=folder)
        found, reasons = read_probes(section, sets, seed=1)
        assert {*reasons} | {one.name for one in found} == {*FORMS}
        return {one.name: len(one.training.rows) for one in found if one.training}, reasons

    assert read() == ({}, dict.fromkeys(FORMS, "no training split: the built-in sample has none"))
    assert read(source="hub")[1]["sts_tr"] == "no training split: the hub is not read"
    assert read(source="local", probe_rows=0)[1]["sts_tr"] == "evaluate.probe_rows is 0"
    assert read(source="local") == ({"news_cat": 25, "exams_tr": 12, "sts_tr": 24}, {})
    found, reasons = read(source="local", probe_rows=20)
    assert found == {"news_cat": 20, "exams_tr": 12, "sts_tr": 20}
    few, reasons = read(source="local", probe_rows=5)
    assert few == {}
    assert reasons["news_cat"] == "5 training rows are too few"
    assert read(("sts_tr",), source="local")[1]["news_cat"] == "the set is not evaluated"
