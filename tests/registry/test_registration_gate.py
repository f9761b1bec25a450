"""The gate decides by numbers alone; what was not measured never passes."""

import copy

import pytest

from diffutron.registry.registration_gate import conditions, gate


@pytest.fixture
def limits(make_params):
    values = {
        "register.gate.min_tasks": 4,
        "register.gate.max_p_value": 0.001,
        "register.gate.min_instructions": 0.6,
        "register.gate.min_valid_words": 0.95,
        "register.gate.max_bits_per_byte_of_unigram": 0.85,
    }
    return make_params(values).register_.gate


def test_good_numbers_pass(summary, limits):
    assert gate(summary, limits, unigram_bits_per_byte=1.7) == []


def test_each_condition_can_fail_alone(summary, limits):
    for change, word in [
        (lambda s: [t.update(p_value=0.001) for t in _tasks(s)], "tasks"),
        (lambda s: s["models"]["phase2"]["instructions"].update(acc=0.59), "instructions"),
        (lambda s: s["models"]["phase2"]["generation"].update(valid_words=0.949), "valid words"),
        (lambda s: s["models"]["base"].update(bits_per_byte=0.86 * 1.7), "bits per byte"),
    ]:
        changed = copy.deepcopy(summary)
        change(changed)
        (failure,) = gate(changed, limits, unigram_bits_per_byte=1.7)
        assert failure.startswith(word)


def _tasks(summary):
    return list(summary["models"]["phase2"]["tasks"].values())


def test_values_at_the_limit_pass(summary, limits):
    for task in _tasks(summary)[:3]:
        task["p_value"] = 0.9
    summary["models"]["phase2"]["instructions"]["acc"] = 0.6
    summary["models"]["phase2"]["generation"]["valid_words"] = 0.95
    summary["models"]["base"]["bits_per_byte"] = 0.85 * 2
    assert gate(summary, limits, unigram_bits_per_byte=2.0) == []
    _tasks(summary)[3]["p_value"] = 0.9
    assert gate(summary, limits, unigram_bits_per_byte=2.0) == [
        "tasks with p < 0.001: 3, wanted at least 4"
    ]


def test_numbers_that_were_not_measured_do_not_pass(summary, limits):
    final = summary["models"]["phase2"]
    final["tasks"] = {}
    final["instructions"]["acc"] = final["generation"]["valid_words"] = None
    failed = gate(summary, limits, unigram_bits_per_byte=None)
    assert len(failed) == 4
    assert sum("not measured" in failure for failure in failed) == 3


def test_a_limit_of_zero_asks_for_nothing(summary, make_params):
    limits = make_params(
        {
            "register.gate.min_tasks": 0,
            "register.gate.min_instructions": 0.0,
            "register.gate.min_valid_words": 0.0,
        }
    ).register_.gate
    final = summary["models"]["phase2"]
    final["tasks"] = {}
    final["instructions"]["acc"] = final["generation"]["valid_words"] = None
    assert gate(summary, limits, unigram_bits_per_byte=1.7) == []


def test_conditions_tell_what_was_wanted_and_found(summary, limits):
    found = conditions(summary, limits, unigram_bits_per_byte=1.7)
    assert [condition.holds for condition in found] == [True] * 4
    assert found[0].found == 7
    assert found[0].wanted == "at least 4"
    assert found[3].found == pytest.approx(0.6 / 1.7)
