"""Duplicates: exact ones by a key, near ones by MinHash bands verified by the true Jaccard value.

Broder (1997); banding as in Leskovec, Rajaraman, Ullman, chapter 3. The bands only propose pairs:
a document is dropped because of one *kept* document that it really resembles, never through a
chain of neighbours.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from diffutron.data.turkish import turkish_lower
from diffutron.params_data import NearDuplicateParams

_WORD = re.compile(r"\w+")
_MIX = np.uint64(0x9E3779B97F4A7C15)
_MINHASH_SEED = 13  # only proposes pairs; results do not depend on it beyond missed ones


def words(text: str) -> list[str]:
    """The words that comparisons see: lower-case by Turkish rules, no punctuation."""
    return _WORD.findall(turkish_lower(text))


def exact_key(text: str) -> int:
    """64 bits that are equal for texts which differ in case and white space only."""
    plain = " ".join(turkish_lower(text).split())
    return int.from_bytes(hashlib.blake2b(plain.encode(), digest_size=8).digest(), "little")


def shingles(tokens: Sequence[str], ngram: int) -> frozenset[tuple[str, ...]]:
    """The distinct n-grams of a text; a text of fewer words is one shingle."""
    if len(tokens) <= ngram:
        return frozenset([tuple(tokens)])
    return frozenset(zip(*(tokens[start:] for start in range(ngram)), strict=False))


def jaccard(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    """|A and B| / |A or B|."""
    common = len(one & other)
    return common / (len(one) + len(other) - common)


def band_keys(texts: Sequence[Sequence[str]], rules: NearDuplicateParams) -> NDArray[np.uint64]:
    """One key a band [N, bands]: texts that share a key in the same band are candidates."""
    from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue] a Rust module

    if not texts:
        return np.empty((0, rules.bands), np.uint64)
    hashes, offsets = _shingle_hashes(texts, rules.ngram)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(
        hashes, offsets, rules.bands * rules.rows, _MINHASH_SEED
    )
    minima = np.asarray(matrix.to_rows(), np.uint64).reshape(len(texts), rules.bands, rules.rows)
    keys = np.zeros((len(texts), rules.bands), np.uint64)
    for row in range(rules.rows):
        keys = _mixed(keys ^ minima[:, :, row])
    return keys


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of 64 bits that spreads neighbouring values (multiply, fold)."""
    values = (values + np.uint64(1)) * _MIX
    return values ^ (values >> np.uint64(29))


def _shingle_hashes(
    texts: Sequence[Sequence[str]], ngram: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Hashes of the n-grams of all texts one after the other, and where each text starts."""
    from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue] a Rust module

    hashed, counts = [], []
    for tokens in RMinHash.hash_token_sets([list(text) or [""] for text in texts]):
        word_hashes = np.asarray(tokens, np.uint64)
        num = max(len(tokens) - ngram + 1, 1)
        rolled = np.zeros(num, np.uint64)
        for start in range(min(ngram, len(tokens))):
            rolled = _mixed(rolled ^ word_hashes[start : start + num])
        hashed.append(rolled)
        counts.append(num)
    return np.concatenate(hashed), np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)


def find_exact(keys: NDArray[np.uint64], best_first: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each key the index of the best text with the same key, -1 for that text itself."""
    instead = np.full(len(keys), -1, np.int64)
    ordered = keys[best_first]
    _, first, inverse = np.unique(ordered, return_index=True, return_inverse=True)
    kept = best_first[first[inverse]]
    instead[best_first] = np.where(kept == best_first, -1, kept)
    return instead


def find_near(
    keys: NDArray[np.uint64],
    best_first: NDArray[np.int64],
    words_of: Callable[[int], Sequence[str]],
    rules: NearDuplicateParams,
) -> tuple[NDArray[np.int64], list[tuple[int, int]]]:
    """For each text the index of a better kept text whose Jaccard value reaches the threshold
    (-1: none, it is kept), and every pair found, which links clusters.

    Args:
        keys: `band_keys` of the texts [N, bands]; may lie on disk.
        best_first: the indices to compare, the text to keep before the text to drop.
        words_of: the words of a text by its index.
    """
    instead = np.full(len(keys), -1, np.int64)
    links: list[tuple[int, int]] = []
    if not len(best_first):
        return instead, links
    shared = _shared_keys(keys, best_first)
    # Texts at the threshold share bands * threshold^rows keys on average: far fewer is no match.
    least = max(1, int(0.25 * rules.bands * rules.threshold**rules.rows))
    kept: dict[tuple[int, int], list[int]] = defaultdict(list)

    @lru_cache(maxsize=20_000)
    def shingles_of(index: int) -> frozenset[tuple[str, ...]]:
        return shingles(words_of(index), rules.ngram)

    for place in np.flatnonzero(shared.any(axis=1)):
        index = int(best_first[place])
        mine = [(int(band), int(keys[index, band])) for band in np.flatnonzero(shared[place])]
        shares = Counter(other for key in mine for other in kept[key])
        candidates = sorted(other for other, common in shares.items() if common >= least)
        alike = [
            other
            for other in candidates
            if jaccard(shingles_of(index), shingles_of(other)) >= rules.threshold
        ]
        links += [(index, other) for other in alike]
        if alike:
            instead[index] = alike[0]
            continue
        for key in mine:
            kept[key].append(index)
    return instead, links


def _shared_keys(keys: NDArray[np.uint64], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which keys of these rows occur more than once in their band [len(rows), bands]; one band is
    in memory at a time."""
    shared = np.zeros((len(rows), keys.shape[1]), bool)
    for band in range(keys.shape[1]):
        _, inverse, counts = np.unique(keys[rows, band], return_inverse=True, return_counts=True)
        shared[:, band] = counts[inverse] > 1
    return shared


def clusters(num: int, links: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """The cluster of each text: the smallest index that links lead to [num]."""
    ends = np.array(links, np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(num, num))
    _, component = connected_components(graph, directed=False)
    _, smallest = np.unique(component, return_index=True)
    return smallest[component]
