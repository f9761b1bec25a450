"""Decoys: items that are none, and in how many clean texts the rule finds one."""

from collections import Counter

import pytest

from diffutron.config.section import TASKS
from diffutron.data.evaluation_sets.evaluation_sets import load_sets
from diffutron.data.matching import false_alarms
from diffutron.data.matching.decontaminate import Contamination, items_of
from diffutron.data.matching.false_alarms import count_false_alarms, decoys
from diffutron.sample import documents


@pytest.fixture(scope="module")
def items():
    sets, _ = load_sets(TASKS, source="sample")
    return [item for one in sets for item in items_of(one.task, one.rows)]


@pytest.fixture
def rules(make_params):
    return make_params().corpus.contamination


def test_decoys_have_the_shape_and_the_words_of_the_items(items):
    made = decoys(items)

    def shapes(some):
        return [[len(field) for field in item.fields] for item in some]

    def words(some):
        return Counter(word for item in some for field in item.fields for word in field)

    assert shapes(made) == shapes(items)
    assert words(made) == words(items)
    assert decoys(items) == made
    same = {item.fields for item in made} & {item.fields for item in items}
    assert len(same) < len(items) / 100


def test_what_the_rule_says_of_decoys_is_counted(items, rules, monkeypatch):
    planted = [" ".join(" ".join(field) for field in one.fields) for one in decoys(items)[:20]]
    index = Contamination(items, rules)
    clean = [one["text"] for one in documents()[:500] if index.find(one["text"]) is None]
    alone = count_false_alarms(items, rules, clean)
    assert alone["texts"] == len(clean)
    assert alone["found"] <= 2  # the grammar of the sample says much the same again
    found = count_false_alarms(items, rules, [*planted, *clean])
    assert found["texts"] == len(clean) + 20
    assert found["found"] - alone["found"] >= 18
    monkeypatch.setattr(false_alarms, "MOST", 10)
    assert count_false_alarms(items, rules, [*planted, *clean])["texts"] == 10


def test_a_lax_rule_has_false_alarms(items, rules):
    lax = rules.model_copy(update={"ngram": 2, "threshold": 0.05, "short_threshold": 0.2})
    clean = [one["text"] for one in documents()[:300]]
    assert count_false_alarms(items, lax, clean)["found"] > 0


def test_nothing_is_claimed_where_nothing_was_searched_for(rules):
    assert count_false_alarms([], rules, ["Bir yazı."]) == {}
