"""How alike texts are, written down a second time, so that the stage is not judged by itself."""

import re
from collections import Counter
from itertools import combinations

import numpy as np

from diffutron.data.turkish import turkish_lower

NGRAM = 3
COMMON = 40  # documents of an n-gram that says nothing about a pair
BEST = 2000  # pairs with the most common n-grams, whose value is computed


def ngrams_of(text: str) -> set[str]:
    words = re.findall(r"\w+", turkish_lower(text))
    return {" ".join(words[at : at + NGRAM]) for at in range(max(len(words) - NGRAM + 1, 1))}


def jaccard_of(one: str, other: str) -> float:
    """Shared 3-grams of words over all of them."""
    mine, yours = ngrams_of(one), ngrams_of(other)
    return len(mine & yours) / len(mine | yours)


def most_alike(texts: list[str]) -> float:
    """The largest Jaccard value of two of the texts that share a 3-gram which is not common."""
    keys, owners = [], []
    for number, text in enumerate(texts):
        mine = np.array([hash(gram) for gram in ngrams_of(text)], np.int64)
        keys.append(mine)
        owners.append(np.full(len(mine), number, np.int32))
    key, owner = np.concatenate(keys), np.concatenate(owners)
    order = np.argsort(key, kind="stable")
    key, owner = key[order], owner[order]
    bounds = np.flatnonzero(np.diff(key)) + 1
    shared: Counter[tuple[int, int]] = Counter()
    for start, end in zip(np.r_[0, bounds], np.r_[bounds, len(key)], strict=True):
        if 2 <= end - start <= COMMON:
            shared.update(combinations(owner[start:end].tolist(), 2))
    pairs = (pair for pair, _ in shared.most_common(BEST))
    return max((jaccard_of(texts[a], texts[b]) for a, b in pairs), default=0.0)
