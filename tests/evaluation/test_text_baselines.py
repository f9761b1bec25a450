"""What text costs under the counting models: the training split alone, the documents as given."""

import math

import numpy as np
import pytest

from diffutron.data.token_store import read_documents
from diffutron.evaluation import text_baselines as module
from diffutron.evaluation.kneser_ney import KneserNey, Text, count_levels
from diffutron.evaluation.perplexity import UNLIMITED, TextSet, heldout_set, text_set
from diffutron.evaluation.text_baselines import drawn_documents, text_baselines


@pytest.fixture
def texts(corpus_dir, tiny) -> dict[str, TextSet]:
    return {
        "heldout": heldout_set(corpus_dir, tiny[1], documents=100, seed=1),
        "perplexity_text": text_set(["Kedi bahçede uyuyor.", "Köpek evde."], tiny[1]),
    }


def test_the_unigram_model_counts_the_training_split(corpus_dir, tiny, texts):
    """Against the definition, token by token, with a dictionary."""
    tokenizer = tiny[1]
    train = np.load(corpus_dir / "train_ids.npy").tolist()
    never = {tokenizer.mask_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id}
    counts = {token: 1 for token in range(len(tokenizer)) if token not in never}
    for token in train:
        if token not in never:
            counts[token] += 1
    total = sum(counts.values())
    found, counted = text_baselines(corpus_dir, tokenizer, texts, seed=1)
    for kind, each in texts.items():
        bits = sum(-math.log2(counts[token] / total) for ids in each.ids for token in ids)
        assert found[kind]["unigram"] == pytest.approx(bits / sum(each.num_bytes))
    assert counted["unigram"] == total - len(counts)


def test_the_n_gram_models_count_the_same_tokens(corpus_dir, tiny, texts):
    tokenizer = tiny[1]
    ids = np.load(corpus_dir / "train_ids.npy")
    bounds = np.load(corpus_dir / "train_bounds.npy")
    documents = [ids[start + 1 : stop] for start, stop in zip(bounds[:-1], bounds[1:], strict=True)]
    assert all(tokenizer.bos_token_id not in one.tolist() for one in documents)
    levels = count_levels(Text.of(documents), order=5, vocab_size=len(tokenizer))
    found, counted = text_baselines(corpus_dir, tokenizer, texts, seed=1)
    for name, order in (("bigram", 2), ("five_gram", 5)):
        made = KneserNey(levels, order=order, num_predicted=len(tokenizer) - 3)
        for kind, each in texts.items():
            bits = -np.log2(made.probability(Text.of(each.ids))).sum()
            assert found[kind][name] == pytest.approx(bits / sum(each.num_bytes))
        assert counted[name] == counted["unigram"] == sum(map(len, documents))


def test_they_give_probability_to_what_a_model_predicts_and_to_nothing_else(
    corpus_dir, tiny, monkeypatch
):
    """The end token is among it; begin, mask and padding are not."""
    tokenizer = tiny[1]
    outside = {tokenizer.mask_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id}
    assert tokenizer.eos_token_id not in outside
    singles = {
        str(token): TextSet([[token]], [1])
        for token in range(len(tokenizer))
        if token not in outside
    }
    found, _ = text_baselines(corpus_dir, tokenizer, singles, seed=1)
    for name in ("unigram", "bigram", "five_gram"):
        assert sum(2 ** -each[name] for each in found.values()) == pytest.approx(1)


def test_a_large_corpus_is_counted_in_part(corpus_dir, tiny, texts, monkeypatch):
    train = read_documents(corpus_dir, "train", max_tokens=UNLIMITED)
    most = int(train.length.sum()) // 2
    monkeypatch.setattr(module, "MAX_TOKENS", most)
    drawn = drawn_documents(train, seed=1)
    assert most - train.length.max() <= train.length[drawn].sum() <= most
    assert drawn == sorted(set(drawn)) == drawn_documents(train, seed=1)
    assert drawn != drawn_documents(train, seed=2)
    _, counted = text_baselines(corpus_dir, tiny[1], texts, seed=1)
    assert counted["five_gram"] == train.length[drawn].sum() - len(drawn)
    assert counted["unigram"] > counted["five_gram"]
