"""The gate decides by numbers alone; what was not measured never passes."""

import copy

import pytest

from diffutron.registry.registration_gate import conditions, gate

from .conftest import BASELINES


@pytest.fixture
def limits(make_params):
    values = {
        "register.gate.min_tasks": 4,
        "register.gate.max_p_value": 0.001,
        "register.gate.min_instructions": 0.6,
        "register.gate.min_valid_words": 0.95,
        "register.gate.below_baseline": "five_gram",
    }
    return make_params(values).register_.gate


def test_good_numbers_pass(summary, limits):
    assert gate(summary, limits, baselines=BASELINES) == []


def test_each_condition_can_fail_alone(summary, limits):
    for change, word in [
        (lambda s: [t.update(p_value=0.001) for t in _tasks(s)], "tasks"),
        (lambda s: s["models"]["phase2"]["instructions"].update(acc=0.59), "instructions"),
        (lambda s: s["models"]["phase2"]["generation"].update(valid_words=0.949), "valid words"),
        (lambda s: s["models"]["merged"].update(bits_per_byte=0.67), "bits per byte of the merged"),
    ]:
        changed = copy.deepcopy(summary)
        change(changed)
        (failure,) = gate(changed, limits, baselines=BASELINES)
        assert failure.startswith(word)


def _tasks(summary):
    return list(summary["models"]["phase2"]["tasks"].values())


def test_values_at_the_limit_pass(summary, limits):
    for task in _tasks(summary)[:3]:
        task["p_value"] = 0.9
    summary["models"]["phase2"]["instructions"]["acc"] = 0.6
    summary["models"]["phase2"]["generation"]["valid_words"] = 0.95
    assert gate(summary, limits, baselines=BASELINES) == []
    _tasks(summary)[3]["p_value"] = 0.9
    assert gate(summary, limits, baselines=BASELINES) == [
        "tasks with p < 0.001: 3, wanted at least 4"
    ]


def test_a_task_of_any_name_counts(summary, make_params):
    """Eight tasks can be asked for, and seven do not do."""
    limits = make_params({"register.gate.min_tasks": 8}).register_.gate
    (failure,) = gate(summary, limits, baselines=BASELINES)
    assert failure == "tasks with p < 0.001: 7, wanted at least 8"
    final = summary["models"]["phase2"]["tasks"]
    final["soru_bankasi"] = dict(final["sts_tr"])
    assert gate(summary, limits, baselines=BASELINES) == []


def test_numbers_that_were_not_measured_do_not_pass(summary, limits):
    final = summary["models"]["phase2"]
    final["tasks"] = {}
    final["instructions"]["acc"] = final["generation"]["valid_words"] = None
    failed = gate(summary, limits, baselines={})
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
    assert gate(summary, limits, baselines=BASELINES) == []


def test_conditions_tell_what_was_wanted_and_found(summary, limits):
    found = conditions(summary, limits, baselines=BASELINES)
    assert [condition.holds for condition in found] == [True] * 4
    assert found[0].found == 7
    assert found[0].wanted == "at least 4"
    assert found[3].found == 0.55
    assert found[3].wanted == "below five_gram (0.67)"


@pytest.mark.parametrize("baseline", ["unigram", "bigram", "five_gram"])
def test_the_merged_model_must_be_below_the_baseline_of_the_key(summary, make_params, baseline):
    limits = make_params({"register.gate.below_baseline": baseline}).register_.gate
    merged = summary["models"]["merged"]
    for bits, holds in ((BASELINES[baseline] - 0.001, True), (BASELINES[baseline], False)):
        merged["bits_per_byte"] = bits
        assert (gate(summary, limits, baselines=BASELINES) == []) is holds
    merged["bits_per_byte"] = 0.1
    without = {name: bits for name, bits in BASELINES.items() if name != baseline}
    (failure,) = gate(summary, limits, baselines=without)
    assert failure.endswith(f"wanted below {baseline} (not measured)")


def test_null_asks_for_no_baseline(summary, make_params):
    limits = make_params({"register.gate.below_baseline": None}).register_.gate
    summary["models"]["merged"]["bits_per_byte"] = None
    assert gate(summary, limits, baselines={}) == []
