"""The geometry of the figures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffutron.pages import charts
from diffutron.pages.charts import Axis, Bar, bucket_means, round_step


@given(st.floats(1e-6, 1e6))
def test_steps_are_round_and_wide_enough(width):
    step = round_step(width)
    digit = float(f"{step:e}".split("e")[0])
    assert digit in (1, 2, 5)
    assert width * (1 - 1e-9) <= step < 2.5 * width * (1 + 1e-9)


@given(st.floats(-1e3, 1e3), st.floats(0.01, 1e3), st.floats(-2e3, 3e3))
def test_coordinates_stay_inside(low, span, value):
    axis = Axis(low, low + span, 40, 400)
    assert 40 <= axis.at(value) <= 400


def test_ticks_are_at_their_values():
    axis = Axis(0, 2000, 0, 100)
    assert axis.ticks() == [(0, "0"), (25, "500"), (50, "1000"), (75, "1500"), (100, "2000")]
    assert [text for _, text in Axis(1.2, 1.9, 0, 1).ticks()] == ["1.2", "1.4", "1.6", "1.8"]


def test_bucket_means_keep_the_mean_and_the_number():
    points = [(float(k), float(k % 7)) for k in range(1000)]
    few = bucket_means(points, 40)
    assert len(few) == 40
    assert sum(v for _, v in few) / 40 == pytest.approx(sum(v for _, v in points) / 1000)
    assert bucket_means(points[:3], 40) == points[:3]


def test_a_curve_without_losses_is_not_drawn():
    assert charts.curve([], []) == {}
    assert charts.curve([], [(1, 2.0)]) == {}


def test_one_spike_does_not_flatten_a_curve():
    drawn = charts.curve([(k, 50.0 if k == 77 else 2.0) for k in range(1, 201)], [])
    assert max(float(text) for _, text in drawn["y_ticks"]) < 5


def test_held_out_losses_are_always_inside():
    drawn = charts.curve([(k, 2.0) for k in range(1, 201)], [(1, 9.0)])
    (dot,) = drawn["dots"]
    assert dot[2] == "step 1: held-out loss 9.000"
    assert dot[1] > 10


def test_a_flat_curve_and_a_single_point_are_drawn():
    assert charts.curve([(k, 1.0) for k in (1, 2, 3)], [])["y_ticks"]
    assert charts.curve([(1, 0.0)], [])["x_ticks"]


def test_bars_share_one_scale_and_leave_room_for_their_numbers():
    whole, part = charts.bars([Bar("a", 6, "6"), Bar("b", 2, "2", lost=1)], text_width=200)["rows"]
    assert (whole["end"], whole["lost"]) == (800, None)
    width = 800 - 150
    assert part["end"] == pytest.approx(150 + width / 3, abs=0.01)
    assert part["lost"] == pytest.approx(150 + width / 2, abs=0.01)
    assert charts.bars([]) == {}


def test_bars_of_nothing_have_no_width():
    (row,) = charts.bars([Bar("a", 0, "0")])["rows"]
    assert row["end"] == 150


def test_a_strip_shares_the_whole_width():
    parts = charts.strip([("a", 1.0), ("b", 3.0)])["parts"]
    assert [(p["x"], p["width"]) for p in parts] == [(0, 250), (250, 750)]
    assert charts.strip([]) == {}
    assert charts.strip([("a", 0.0)]) == {}


def test_accuracies_without_scores_are_not_drawn():
    row = {"label": "x", "scores": {}, "published": {}, "chance": None, "constant": None}
    assert charts.accuracies([row], ["base"]) == {}


def test_an_accuracy_without_interval_is_a_point():
    row = {
        "label": "x",
        "scores": {"base": (0.5, None, None)},
        "published": {"base": None},
        "chance": 0.5,
        "constant": None,
    }
    (group,) = charts.accuracies([row], ["base"])["groups"]
    (mark,) = group["marks"]
    assert mark["low"] == mark["x"] == mark["high"]
    assert [reference["kind"] for reference in group["references"]] == ["chance"]
