"""How alike texts are, written down a second time, so that the stage is not judged by itself."""

import re

import numpy as np

from diffutron.text.turkish import turkish_lower

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
        owners.append(np.full(len(mine), number, np.int64))
    key, owner = np.concatenate(keys), np.concatenate(owners)
    order = np.argsort(key, kind="stable")
    key, owner = key[order], owner[order]
    _, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
    rare = counts[inverse] <= COMMON
    key, owner = key[rare], owner[rare]
    found = []
    for apart in range(1, COMMON):
        same = key[apart:] == key[:-apart]
        found.append(owner[:-apart][same] * len(texts) + owner[apart:][same])
    pairs, shared = np.unique(np.concatenate(found), return_counts=True)
    best = pairs[np.argsort(-shared, kind="stable")[:BEST]]
    return max(
        (jaccard_of(texts[pair // len(texts)], texts[pair % len(texts)]) for pair in best),
        default=0.0,
    )
