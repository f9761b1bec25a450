"""Nested values as flat rows, and rows as a Markdown table."""

from diffutron.runtime.tables import flatten, markdown_table


def test_leaves_stand_under_their_path():
    values = {"a": {"b": 1, "c": {"d": [2, 3]}}, "e": None}
    assert flatten(values) == {"a.b": 1, "a.c.d": [2, 3], "e": None}
    assert list(flatten(values, separator="/")) == ["a/b", "a/c/d", "e"]


def test_a_bar_in_a_cell_does_not_end_it():
    assert markdown_table(["x", "y"], [[1, "a|b"]]) == "| x | y |\n|---|---|\n| 1 | a\\|b |"
