"""Numbers in words: formats, the headline, the caveats, the published table, the traces."""

from dataclasses import replace

import pytest

from diffutron.pages import format
from diffutron.paper import published
from diffutron.paper.caveats import caveats
from diffutron.reporting.denoising.trace import read_trace
from diffutron.reporting.headline import tiles, verdict
from diffutron.reporting.inputs import Inputs, read_inputs
from diffutron.reporting.summary import AnswerScore, TextScore, build_summary
from diffutron.reporting.tables import training_table


@pytest.fixture
def numbers(run_files):
    inputs = read_inputs(**run_files)
    return build_summary(inputs, profile="demo"), inputs


def measured(values: dict) -> Inputs:
    """The inputs of a run of which `evaluate` measured these values alone."""
    return Inputs({"evaluate": values}, curves={}, cards={}, traces=[], answers={})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "not measured"),
        (6.24, "6.2 s"),
        (59.4, "59 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations(seconds, text):
    assert format.duration(seconds) == text


def test_numbers():
    assert format.percent(0.785) == "78.5"
    assert format.percent(None) == format.decimal(None) == format.count(None) == "not measured"
    assert format.p_value(0.00099) == "p < 0.001"
    assert format.p_value(0.001) == "p = 0.001"
    assert format.p_value(None) == format.interval(None, 0.5) == ""
    assert format.count(16384) == "16 384"
    assert [format.decimal(v) for v in (0.5, 999.9, 12705.3)] == ["0.500", "999.900", "12 705"]
    assert [format.scalar(v) for v in (None, True, 12345, 0.5, 123456.7, "cpu")] == [
        "not measured",
        "yes",
        "12 345",
        "0.5",
        "123 457",
        "cpu",
    ]


def test_the_published_averages_are_the_means_of_their_columns():
    for column, average in enumerate(published.AVERAGE):
        scores = [row[column] for row in published.ACCURACY.values()]
        assert sum(scores) / 7 == pytest.approx(average, abs=0.0051)


def test_only_the_tuned_models_have_a_published_twin():
    assert published.accuracy("phase2", "news_cat") == 32.40
    assert published.accuracy("phase1", "news_cat") == 23.20
    assert published.accuracy("base", "news_cat") is None
    assert published.accuracy("phase2", "unknown") is None


def test_the_verdict_says_what_was_measured(numbers):
    text = verdict(*numbers)
    assert "above chance on 6 of 7 tasks, answers 75.0 % of held-out" in text
    assert "lowered held-out bits per byte by 0.053 (p < 0.001)" in text


@pytest.mark.parametrize(
    "test", [{"difference": 0.01, "p_value": 0.9}, {"difference": -0.01, "p_value": 0.2}]
)
def test_a_gain_that_is_not_shown_is_not_claimed(numbers, test):
    summary, _ = numbers
    text = verdict(summary, measured({"merged_below_base": test}))
    assert "is not shown" in text
    assert "lowered held-out bits per byte by" not in text


def test_a_verdict_over_one_number(numbers):
    final = replace(numbers[0].models["phase2"], tasks={}, instructions=AnswerScore())
    summary = replace(numbers[0], models=numbers[0].models | {"phase2": final})
    assert verdict(summary, measured({})).endswith("the final model writes 98.0 % valid words.")


def test_tiles_of_a_run_without_numbers_say_so(numbers):
    models = dict(numbers[0].models)
    nothing = {"tasks": {}, "instructions": AnswerScore(), "generation": TextScore()}
    models["phase2"] = replace(models["phase2"], **nothing)
    models["merged"] = replace(models["merged"], bits_per_byte=None)
    summary = replace(numbers[0], models=models, seconds={})
    assert {tile.value for tile in tiles(summary, measured({}))} == {"not measured"}


def test_caveats_follow_the_parameters(make_params):
    demo = {c.subject for c in caveats(make_params())}
    assert "Built-in sample: corpus, instructions, evaluation sets" in demo
    assert {"Backbone from scratch", "Own tokenizer", "One seed"} <= demo
    hub = {
        "corpus.source": "hub",
        "instructions.source": "hub",
        "evaluate.source": "hub",
        "evaluate.max_items": None,
        "backbone.source": "hub",
        "tokenizer.source": "hub",
        "pretrain.lora.rank": 256,
        "instruct_phase1.training.mask_rates.low": 0.0,
        "instruct_phase2.training.mask_rates.low": 0.0,
        "instruct_phase1.max_eos_fill": 0,
        "instruct_phase2.max_eos_fill": 0,
    }
    paper = [c.subject for c in caveats(make_params(hub))]
    assert paper == [
        "One seed",
        "Running text after instruction tuning",
        "A test for each task",
        "Perplexity 3.42 -> 2.75",
        "Scoring protocol",
        "Settings that are not published",
    ]
    filled = [c.subject for c in caveats(make_params(hub | {"instruct_phase2.max_eos_fill": 32}))]
    assert filled == ["Phase 2: with end fill", *paper]
    rates = hub | {"pretrain.training.mask_rates.low": 0.15}
    clipped = [c.subject for c in caveats(make_params(rates))]
    assert clipped == ["Pre-training: 15 to 100 % hidden", *paper]
    part = {"backbone.objective": "diffusion", "backbone.training.mask_rates.high": 0.9}
    told = [c.subject for c in caveats(make_params(part)) if "hidden" in c.subject]
    assert told[0] == "Backbone: 0 to 90 % hidden"
    assert "Phase 1: 50 to 100 % hidden, with end fill" in demo
    local = [c.subject for c in caveats(make_params({"evaluate.source": "local"}))]
    assert "Local files: evaluation sets" in local
    both = caveats(make_params({"evaluate.max_items": 50, "evaluate.max_items_final": 70}))
    assert any("and 70 for phase 2" in c.reason for c in both)


def test_a_trace_is_read_by_position():
    steps = [
        {"step": 0, "tokens": [{"position": 1, "token": "b", "confidence": 0.5}]},
        {"step": 1, "tokens": [{"position": 1, "token": None, "confidence": 0.0}]},
        {"step": 2, "tokens": [{"position": 0, "token": "a"}]},
        {"step": 3, "tokens": [{"position": 1, "token": "c", "confidence": 0.9}]},
    ]
    trace = read_trace({"prompt": "p", "answer": "ac", "steps": steps})
    assert [slot.text for slot in trace.slots] == ["a", "c"]
    assert trace.lines() == ["step   1  ▒b", "step   2  ▒▒", "step   3  a▒", "step   4  ac"]
    assert trace.slots[1].last == (3, "c", 0.9)
    assert trace.expected is None


def test_frames_are_steps_in_which_something_happened():
    steps = [
        {"step": 3 * k, "tokens": [{"position": k, "token": f" {k}", "confidence": 0.5}]}
        for k in range(20)
    ]
    trace = read_trace({"prompt": "p", "answer": "", "steps": steps})
    assert [step for step, _ in trace.frames] == [1, 13, 25, 34, 46, 58]
    assert trace.slots[0].text == "0"
    assert trace.slots[1].text == " 1"


def test_a_position_that_stays_open_and_an_empty_trace():
    steps = [{"step": 0, "tokens": [{"position": 0, "token": None}]}]
    open_place = read_trace({"prompt": "p", "answer": "", "steps": steps})
    nothing = read_trace({"prompt": "p", "answer": "", "steps": []})
    assert open_place.slots[0].text == ""
    assert nothing.lines() == ["step   1  "]


def test_a_held_out_loss_of_other_mask_rates_says_what_it_is():
    """Training may draw part of the mask rates; the held-out loss is over all of them."""
    clipped, whole = "MDLM loss, mask rates 0.15 to 1 only", "MDLM bound, linear schedule"
    values = {"tokens_per_s": 9.0, "eval_loss": 3.0, "eval_loss_before": 9.0, "is_bound": False}
    values |= {"objective": clipped}
    told = [
        training_table({"pretrain": values | more}).rows[0][-1].notes
        for more in ({}, {"eval_objective": clipped}, {"eval_objective": whole})
    ]
    assert told == [("before: 9.000",), ("before: 9.000",), ("before: 9.000", whole)]
