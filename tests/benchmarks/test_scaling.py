"""The benchmark of scaling: what it makes of the figures of its runs; the runs are made by hand."""

import json
from pathlib import Path

import pytest

from benchmarks import scaling


def test_ratios_are_of_one_round_and_their_median_is_told():
    def round_of(one: float, strong: float, weak: float, apart: float) -> dict:
        figures = {"parameters": 9, "trainable": 3, "tokens": 80, "steps": 4}
        speeds = {"one": [one], "strong": [strong], "weak": [weak], "apart": [apart / 2] * 2}
        return {k: [{"tokens_per_s": s, **figures} for s in v] for k, v in speeds.items()}

    case = scaling.Case(Path("project"), "pretrain", 2, 4, 64)
    row = case.row(
        [round_of(100, 150, 180, 190), round_of(50, 90, 95, 98), round_of(10, 9, 18, 20)]
    )
    assert (row["strong"], row["weak"], row["apart"]) == (1.5, 1.8, 1.96)
    assert row["range"]["strong"] == [0.9, 1.8]
    assert (row["tokens_per_step"], row["tokens_per_s"]["one"], row["rounds"]) == (20, 50, 3)
    assert json.loads(json.dumps(row)) == row


def test_what_cannot_be_asked():
    assert scaling.parse([]).zero == [1, 2, 3]
    for wrong in (["--rounds", "0"], ["--zero", "4"], ["--steps", "-1"]):
        with pytest.raises(SystemExit):
            scaling.parse(wrong)
