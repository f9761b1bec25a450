"""Intervals, tests and comparisons: how sure a number is."""
