"""Two versions on the same items, against exact enumeration and hand-made cases."""

import itertools
import math

import numpy as np
import pytest

from diffutron.registry.comparison import compare, lower_end


def answers(**tasks: str) -> dict[str, dict[int, bool]]:
    """`a="110"`: three items of the task `a`, the first two right."""
    return {task: {row: c == "1" for row, c in enumerate(marks)} for task, marks in tasks.items()}


def test_only_common_items_count():
    new = answers(a="1111", b="11", only_new="1")
    old = answers(a="10", b="00", only_old="1")
    found = compare(new, old)
    assert {task: one.n for task, one in found.tasks.items()} == {"a": 2, "b": 2}
    assert found.mean_difference == pytest.approx((0.5 + 1.0) / 2)
    with pytest.raises(ValueError, match="no common items"):
        compare(answers(a="1"), answers(b="1"))


def test_the_one_sided_test_is_the_binomial_tail():
    found = compare(answers(a="0" * 8 + "1" * 2), answers(a="1" * 8 + "0" * 2))
    one = found.tasks["a"]
    tail = sum(math.comb(10, k) for k in range(8, 11)) / 2**10
    assert (one.only_champion, one.only_version) == (8, 2)
    assert one.p_worse == pytest.approx(tail)
    better = compare(answers(a="1" * 9), answers(a="0" * 9)).tasks["a"]
    assert better.p_worse == 1.0
    assert better.holds(max_drop=0.0)


def test_holm_corrects_over_the_tasks():
    worse = {"new": "0" * 6, "old": "1" * 6}  # p = 1/64
    one = compare(answers(a=worse["new"]), answers(a=worse["old"]))
    assert one.tasks["a"].p_holm == pytest.approx(1 / 64)
    tasks = ("a", "b", "c", "d")
    four = compare(
        answers(**dict.fromkeys(tasks, worse["new"])), answers(**dict.fromkeys(tasks, worse["old"]))
    )
    assert four.tasks["a"].p_holm == pytest.approx(4 / 64)
    assert not one.tasks["a"].holds(max_drop=1.0)
    assert four.tasks["a"].holds(max_drop=1.0)  # not significant any more
    assert not four.tasks["a"].holds(max_drop=0.1)


def test_the_interval_matches_the_enumerated_bootstrap():
    deltas = [np.array([1.0, 0.0, 1.0, -1.0, 1.0]), np.array([1.0, 1.0, 0.0])]
    means = [
        [
            np.mean([delta[i] for i in drawn])
            for drawn in itertools.product(*[range(len(delta))] * len(delta))
        ]
        for delta in deltas
    ]
    exact = np.sort((np.array(means[0])[:, None] + np.array(means[1])[None, :]).ravel() / 2)
    fifth = exact[int(0.05 * len(exact))]
    assert lower_end(deltas, seed=1) == pytest.approx(fifth, abs=0.04)


def test_equal_answers_are_not_better():
    same = answers(a="1010", b="1")
    found = compare(same, same)
    assert (found.mean_difference, found.low) == (0.0, 0.0)
