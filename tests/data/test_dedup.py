"""Duplicates against a naive comparison of all pairs."""

import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffutron.data.dedup import (
    band_keys,
    clusters,
    exact_key,
    find_exact,
    find_near,
    jaccard,
    shingles,
    words,
)

VOCABULARY = [f"sözcük{number}" for number in range(3000)]


def document(numbers: random.Random, length: int) -> list[str]:
    return [numbers.choice(VOCABULARY) for _ in range(length)]


def with_changes(tokens: list[str], share: float, numbers: random.Random) -> list[str]:
    changed = list(tokens)
    for place in numbers.sample(range(len(tokens)), round(share * len(tokens))):
        changed[place] = numbers.choice(VOCABULARY)
    return changed


@pytest.fixture
def rules(make_params):
    return make_params({"corpus.near_duplicate.threshold": 0.6}).corpus.near_duplicate


def test_words_follow_turkish_casing():
    assert words("ISPARTA'da İyi, ışık!") == ["ısparta", "da", "iyi", "ışık"]


def test_exact_key_ignores_case_and_white_space_only():
    assert exact_key("İyi  günler\nIşık") == exact_key("iyi günler ışık")
    assert exact_key("iyi günler.") != exact_key("iyi günler!")


@given(st.lists(st.sampled_from("abcde"), max_size=12), st.lists(st.sampled_from("abcde")))
def test_jaccard_matches_the_definition(one, other):
    def naive(tokens):
        if len(tokens) <= 3:
            return {tuple(tokens)}
        return {tuple(tokens[start : start + 3]) for start in range(len(tokens) - 2)}

    expected = len(naive(one) & naive(other)) / len(naive(one) | naive(other))
    assert jaccard(shingles(one, 3), shingles(other, 3)) == pytest.approx(expected)


def test_near_copies_are_found_and_strangers_are_not(rules):
    numbers = random.Random(7)
    originals = [document(numbers, numbers.randint(40, 120)) for _ in range(200)]
    texts = originals + [with_changes(tokens, 0.05, numbers) for tokens in originals]
    order = np.arange(len(texts))
    instead, links = find_near(band_keys(texts, rules), order, lambda index: texts[index], rules)
    assert (instead[:200] == -1).all()
    found = [copy for copy in range(200, 400) if instead[copy] == copy - 200]
    assert len(found) >= 196
    assert all(one - 200 == other for one, other in links)


def test_every_drop_is_justified_by_a_kept_document(rules):
    """A chain a ~ b ~ c with a unlike c keeps both ends."""
    numbers = random.Random(3)
    a = document(numbers, 60)
    b = a[:48] + document(numbers, 12)
    c = b[12:] + document(numbers, 12)
    texts = [b, a, c]
    near = [
        (x, y)
        for x, y in combinations(range(3), 2)
        if jaccard(shingles(texts[x], 3), shingles(texts[y], 3)) >= rules.threshold
    ]
    assert near == [(0, 1), (0, 2)]
    keys = np.zeros((3, rules.bands), np.uint64)  # all are candidates of all
    a_first, _ = find_near(keys, np.array([1, 0, 2]), lambda index: texts[index], rules)
    assert a_first.tolist() == [1, -1, -1]


def test_result_equals_comparing_all_pairs_when_all_share_a_band(rules):
    numbers = random.Random(5)
    base = [document(numbers, 30) for _ in range(8)]
    texts = [
        with_changes(numbers.choice(base), numbers.choice([0, 0.03, 0.3]), numbers)
        for _ in range(60)
    ]
    keys = np.zeros((60, rules.bands), np.uint64)
    order = np.array(numbers.sample(range(60), 60))
    instead, _ = find_near(keys, order, lambda index: texts[index], rules)
    kept: list[int] = []
    for index in order:
        alike = [
            k for k in kept if jaccard(shingles(texts[k], 3), shingles(texts[index], 3)) >= 0.6
        ]
        assert (instead[index] in alike) if alike else (instead[index] == -1)
        if not alike:
            kept.append(int(index))


def test_find_exact_keeps_the_best():
    keys = np.array([5, 9, 5, 5, 9, 1], np.uint64)
    instead = find_exact(keys, np.array([2, 0, 1, 3, 4, 5]))
    assert instead.tolist() == [2, -1, -1, 2, 1, -1]


def test_bands_of_short_and_no_texts(rules):
    assert band_keys([], rules).shape == (0, rules.bands)
    keys = band_keys([[], ["bir"], ["bir"], ["iki", "üç"]], rules)
    assert (keys[1] == keys[2]).all()
    assert (keys[0] != keys[1]).any()
    nothing, links = find_near(keys, np.array([], np.int64), lambda index: [], rules)
    assert nothing.tolist() == [-1] * 4
    assert links == []


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30))
def test_clusters_are_the_connected_components(links):
    found = clusters(20, links)
    naive = list(range(20))
    for _ in range(20):
        for one, other in links:
            naive[one] = naive[other] = min(naive[one], naive[other])
    assert found.tolist() == naive
