"""The unigram yardstick against its definition."""

import math

import numpy as np
import pytest

from diffutron.evaluation import unigram
from diffutron.evaluation.unigram import unigram_logprobs, unigram_nats


def test_add_one_worked_by_hand(monkeypatch):
    monkeypatch.setattr(unigram, "CHUNK", 2)
    train = np.array([2, 5, 5, 1, 2, 3], dtype=np.uint16)
    logprobs = unigram_logprobs(train, vocab_size=6, left_out=[0, 2])
    # counts of 1, 3, 4, 5 plus one: 2, 2, 1, 3 of 8
    assert np.exp(logprobs[[1, 3, 4, 5]]) == pytest.approx([2 / 8, 2 / 8, 1 / 8, 3 / 8])
    assert np.isneginf(logprobs[[0, 2]]).all()
    nats = unigram_nats(logprobs, np.array([5, 4]))
    assert nats == pytest.approx(-math.log(3 / 8) - math.log(1 / 8))
