"""The unigram model: what a text costs when only the frequency of each token is known.

The yardstick for bits per byte: a language model that does not beat it has learned no context.
"""

from collections.abc import Sequence

import numpy as np

CHUNK = 10_000_000  # tokens counted at a time: ids of a large corpus stay on disk


def unigram_logprobs(
    train_ids: np.ndarray, *, vocab_size: int, left_out: Sequence[int]
) -> np.ndarray:
    """log p [V] (nats) of each token, its count plus one; -inf for tokens that are never scored."""
    counts = np.zeros(vocab_size, np.int64)
    for start in range(0, len(train_ids), CHUNK):
        counts += np.bincount(train_ids[start : start + CHUNK], minlength=vocab_size)
    smoothed = counts.astype(float) + 1
    smoothed[list(left_out)] = 0
    with np.errstate(divide="ignore"):
        return np.log(smoothed) - np.log(smoothed.sum())


def unigram_nats(logprobs: np.ndarray, ids: np.ndarray) -> float:
    """-log probability (nats) of the tokens `ids`, all of which must have a probability."""
    return float(-logprobs[ids].sum())
