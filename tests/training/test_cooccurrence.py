"""Vectors out of neighbor counts: what stands together, and at what distance, decides them."""

import math

import numpy as np
import pytest
import torch

from diffutron.data.token_store import windows
from diffutron.training.cooccurrence import (
    CONTEXT_POWER,
    _neighbor_counts,
    _positive_information,
    cooccurrence_vectors,
)


@pytest.fixture
def samples():
    rng = np.random.default_rng(3)
    length = rng.integers(2, 9, 40)
    bounds = np.concatenate([[0], np.cumsum(length)])
    return windows(rng.integers(0, 12, bounds[-1]).astype(np.uint16), bounds, max_tokens=6)


def test_pairs_are_counted_within_a_sample_in_both_directions(samples):
    expected = torch.zeros(12, 12)
    for index in range(len(samples)):
        tokens = samples.tokens(index).tolist()
        for i, one in enumerate(tokens):
            for j, other in enumerate(tokens):
                if 0 < abs(i - j) <= 3:
                    expected[one, other] += 1 / abs(i - j)
    torch.testing.assert_close(_neighbor_counts(samples, 12, 3).to_dense(), expected)


def test_information_is_that_of_the_definition(samples):
    counts = _neighbor_counts(samples, 12, 2)
    dense = counts.to_dense()
    total = dense.sum(dim=1)
    context = total**CONTEXT_POWER / (total**CONTEXT_POWER).sum()
    expected = (dense / total[:, None] / context).log().clamp_min(0)
    torch.testing.assert_close(_positive_information(counts).to_dense(), expected)


def test_tokens_with_the_same_neighbors_get_the_same_vector():
    """20 and 21 stand beside 1 to 4 alone, 22 and 23 beside 5 to 8; 30 stands nowhere."""
    rng = np.random.default_rng(1)
    rows = []
    for _ in range(400):
        kind = int(rng.integers(0, 2))
        beside = rng.integers(1, 5, 2) + 4 * kind
        rows.append([beside[0], 20 + 2 * kind + int(rng.integers(0, 2)), beside[1]])
    samples = windows(np.array(rows).flatten(), np.arange(0, 1203, 3), max_tokens=3)
    vectors = cooccurrence_vectors(samples, vocab_size=31, size=8, window=1, seed=1)
    alike = vectors @ vectors.T
    assert min(alike[20, 21], alike[22, 23]) > 0.5 + max(alike[20, 22], alike[21, 23])
    assert not vectors[30].any()
    torch.testing.assert_close(vectors[20:24].norm(dim=1), torch.ones(4))


def test_the_same_seed_gives_the_same_vectors_and_leaves_the_random_state_alone(samples):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, again = (
        cooccurrence_vectors(samples, vocab_size=12, size=16, window=2, seed=2) for _ in range(2)
    )
    assert torch.equal(torch.rand(3), expected)
    torch.testing.assert_close(one, again)
    assert one.shape == (12, 16)
    assert math.isfinite(float(one.sum()))
