"""Bits a byte and perplexity by mask rate: a uniform model, enumeration, and paired comparison."""

import copy
import math

import numpy as np
import pytest
import torch

from diffutron.evaluation import perplexity
from diffutron.evaluation.perplexity import TextMeasures, compare, heldout_set, measure, text_set
from diffutron.runtime.errors import UserError

TEXTS = ["Kedi bahçede uyuyor.", "Köpek evde.", "Ankara büyük bir kenttir, değil mi?"]


@pytest.fixture(scope="module")
def uniform(tiny):
    """The tiny model with a head that finds all tokens equally likely."""
    model = copy.deepcopy(tiny[0])
    with torch.no_grad():
        model.decoder.weight.zero_()
        model.decoder.bias.zero_()
    return model, tiny[1]


def test_a_uniform_model_costs_the_logarithm_of_the_vocabulary(uniform):
    model, tokenizer = uniform
    texts = text_set(TEXTS, tokenizer)
    found = measure(model, tokenizer, texts, num_samples=4, seed=1, desc="test")
    choices = model.config.vocab_size - 1  # the mask token is none
    assert found.nats_per_token == pytest.approx(math.log(choices))
    assert list(found.perplexity.values()) == pytest.approx([choices] * 4)
    tokens = sum(map(len, texts.ids))
    size = sum(len(text.encode()) for text in TEXTS)
    assert found.bits_per_byte == pytest.approx(tokens * math.log2(choices) / size)
    assert found.bits_per_byte_stderr == pytest.approx(0, abs=1e-6)


def test_text_sets_end_as_the_tokenizer_ends_a_text(tiny):
    tokenizer = tiny[1]
    texts = text_set(["Kedi"], tokenizer)
    assert texts.ids[0] == tokenizer("Kedi")["input_ids"][1:]
    assert texts.ids[0][-1] == tokenizer.eos_token_id
    assert texts.num_bytes == [4]


def test_a_second_copy_of_a_document_tells_nothing_new(tiny):
    """Its draws are the same, so the error of the mean stays what it is."""
    found = [
        measure(*tiny, text_set(texts, tiny[1]), num_samples=4, seed=1, desc="test")
        for texts in (TEXTS[2:], TEXTS[2:] * 2, TEXTS)
    ]
    once, twice, others = (one.bits_per_byte_stderr for one in found)
    assert twice == pytest.approx(once)
    assert 0 < others < once


def test_enough_samples_are_the_exact_bound(tiny):
    texts = text_set(["Ke"], tiny[1])
    rows = 2 ** len(texts.ids[0]) - 1
    exact = measure(*tiny, texts, num_samples=rows, seed=1, desc="test")
    other = measure(*tiny, texts, num_samples=rows, seed=2, desc="test")
    assert exact.nats == other.nats
    assert exact.bits_per_byte_stderr == 0


def test_draws_are_fixed_by_the_seed_and_not_by_batches(tiny, monkeypatch):
    texts = text_set(TEXTS, tiny[1])
    first = measure(*tiny, texts, num_samples=4, seed=1, desc="test")
    monkeypatch.setattr(perplexity, "BATCH_TOKENS", 1)
    alone = measure(*tiny, texts, num_samples=4, seed=1, desc="test")
    assert alone.nats == pytest.approx(first.nats, abs=1e-4)
    assert alone.perplexity == pytest.approx(first.perplexity, rel=1e-4)
    other = measure(*tiny, texts, num_samples=4, seed=2, desc="test")
    assert other.nats != pytest.approx(first.nats, abs=1e-4)


def test_texts_longer_than_the_model_go_in_windows(uniform):
    model, tokenizer = uniform
    texts = text_set(["Kedi uyuyor. " * 60], tokenizer)
    assert len(texts.ids[0]) > model.config.max_position_embeddings
    found = measure(model, tokenizer, texts, num_samples=2, seed=1, desc="test")
    assert found.nats_per_token == pytest.approx(math.log(model.config.vocab_size - 1), rel=1e-5)


def test_heldout_documents_are_drawn_with_their_bytes(corpus_dir, tiny):
    import polars

    every = heldout_set(corpus_dir, tiny[1], documents=100, seed=1)
    texts = polars.read_parquet(corpus_dir / "heldout.parquet")["text"].to_list()
    assert every.num_bytes == [len(text.encode()) for text in texts]
    assert every.ids == text_set(texts, tiny[1]).ids
    some = heldout_set(corpus_dir, tiny[1], documents=2, seed=1)
    assert len(some.ids) == 2
    assert all(ids in every.ids for ids in some.ids)


def test_a_corpus_that_does_not_fit_itself_is_named(corpus_dir, tiny, tmp_path):
    import shutil

    import polars

    folder = tmp_path / "corpus"
    shutil.copytree(corpus_dir, folder)
    polars.DataFrame({"text": ["bir"]}).write_parquet(folder / "heldout.parquet")
    with pytest.raises(UserError, match="run `diffutron corpus` again"):
        heldout_set(folder, tiny[1], documents=2, seed=1)


def test_models_are_compared_document_by_document(tiny):
    texts = text_set(TEXTS * 4, tiny[1])
    base = measure(*tiny, texts, num_samples=2, seed=1, desc="test")
    shift = np.linspace(0.9, 1.1, len(base.nats))
    better = TextMeasures(
        nats=[value - 2 * move for value, move in zip(base.nats, shift, strict=True)],
        bits_per_byte=0,
        bits_per_byte_stderr=0,
        nats_per_token=0,
        perplexity={},
    )
    found = compare(base, better, texts, seed=1)
    assert found["difference"] == pytest.approx(
        -2 * shift.sum() / math.log(2) / sum(texts.num_bytes)
    )
    assert found["p_value"] < 1e-6
    assert found["documents"] == 12
    assert compare(better, base, texts, seed=1)["p_value"] > 1 - 1e-6
