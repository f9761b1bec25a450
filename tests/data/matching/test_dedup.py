"""Duplicates against a naive comparison of all pairs."""

import random
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffutron.data.matching import database as databases
from diffutron.data.matching.database import database
from diffutron.data.matching.dedup import (
    BANDS,
    PAIRS,
    band_keys,
    band_rows,
    find_clusters,
    find_exact,
    find_near,
    jaccard,
    shingles,
)
from diffutron.text.turkish import exact_key, words

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


def near_pairs(texts, keys, rules, order=None) -> list[tuple[int, int]]:
    """What `find_near` finds where the texts are judged in this order."""
    rank = np.empty(len(texts), np.int32)
    rank[np.arange(len(texts)) if order is None else order] = np.arange(len(texts))[::-1]
    with database() as db:
        db.load("bands", [band_rows(np.arange(len(texts)), rank, keys)], BANDS)
        find_near(db, texts.__getitem__, rules)
        return sorted(db.rows("select index, other from near"))


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
    pairs = near_pairs(texts, band_keys(texts, rules), rules)
    assert len(pairs) >= 196
    assert all(copy - 200 == original for copy, original in pairs)


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
    assert near_pairs(texts, keys, rules, order=[1, 0, 2]) == [(0, 1)]
    assert near_pairs(texts, keys, rules) == [(1, 0), (2, 0)]


@pytest.mark.parametrize("rows", [1, 90, 100_000])
def test_result_equals_comparing_all_pairs_when_all_share_a_band(rules, monkeypatch, rows):
    """However many texts are judged together."""
    monkeypatch.setattr(databases, "ROWS", rows)
    numbers = random.Random(5)
    base = [document(numbers, 30) for _ in range(8)]
    texts = [
        with_changes(numbers.choice(base), numbers.choice([0, 0.03, 0.3]), numbers)
        for _ in range(60)
    ]
    keys = np.zeros((60, rules.bands), np.uint64)
    order = numbers.sample(range(60), 60)
    expected, kept = [], []
    for index in order:
        alike = [
            (index, other)
            for other in kept
            if jaccard(shingles(texts[other], 3), shingles(texts[index], 3)) >= 0.6
        ]
        expected += alike
        kept += [] if alike else [index]
    assert near_pairs(texts, keys, rules, order) == sorted(expected)


def test_groups_of_any_size_find_the_same(rules, monkeypatch):
    numbers = random.Random(8)
    base = [document(numbers, 50) for _ in range(40)]
    texts = base + [with_changes(numbers.choice(base), 0.04, numbers) for _ in range(160)]
    keys, found = band_keys(texts, rules), []
    for rows in (1, 300, 100_000):
        monkeypatch.setattr(databases, "ROWS", rows)
        found.append(near_pairs(texts, keys, rules))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) > 100


def test_find_exact_keeps_the_longest_then_the_first():
    columns = {
        "index": range(7),
        "num_words": [4, 7, 9, 4, 7, 1, 99],
        "key": [5, 9, 5, 5, 9, 1, 5],
        "reason": [*[""] * 6, "quality"],
    }
    with database() as db:
        table = pa.table({name: list(values) for name, values in columns.items()})
        db.load("documents", table.to_batches(), table.schema)
        find_exact(db)
        assert sorted(db.rows("from exact")) == [(0, 2), (3, 2), (4, 1)]


def test_bands_of_short_and_no_texts(rules):
    assert band_keys([], rules).shape == (0, rules.bands)
    keys = band_keys([[], ["bir"], ["bir"], ["iki", "üç"]], rules)
    assert (keys[1] == keys[2]).all()
    assert (keys[0] != keys[1]).any()
    assert near_pairs([], band_keys([], rules), rules) == []


pairs_of_texts = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30)


@pytest.mark.slow
@given(pairs_of_texts, pairs_of_texts)
@settings(deadline=None, max_examples=50)
def test_clusters_are_the_connected_components(exact, near):
    naive = list(range(20))
    for _ in range(20):
        for one, other in [*exact, *near]:
            naive[one] = naive[other] = min(naive[one], naive[other])
    with database() as db:
        for name, pairs in (("exact", exact), ("near", near)):
            columns = {"index": [one for one, _ in pairs], "other": [other for _, other in pairs]}
            db.load(name, pa.table(columns, schema=PAIRS).to_batches(), PAIRS)
        find_clusters(db)
        found = dict(db.rows("from clusters"))
    assert set(found) == {text for pair in [*exact, *near] for text in pair}
    assert all(cluster == naive[index] for index, cluster in found.items())


@pytest.mark.slow
def test_a_long_chain_is_one_cluster():
    numbers = random.Random(1)
    chain = numbers.sample(range(2000), 2000)
    columns = {"index": chain[:-1], "other": chain[1:]}
    with database() as db:
        db.load("exact", pa.table(columns, schema=PAIRS).to_batches(), PAIRS)
        db.load("near", [], PAIRS)
        find_clusters(db)
        assert db.rows("select cluster, count(*) from clusters group by all") == [(0, 2000)]
