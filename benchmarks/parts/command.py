"""The command line that all benchmarks share."""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

import torch

from benchmarks.parts.shapes import SHAPES, Shape

Cases = Callable[[Shape, int], Iterator[dict]]
REPEATS = 5


def main(cases: Cases, arguments: Sequence[str] | None = None) -> None:
    """Runs the cases of a benchmark and prints a line for each; progress goes to standard
    error."""
    parser = argparse.ArgumentParser(description=sys.modules[cases.__module__].__doc__)
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="measured runs of each form")
    given = parser.parse_args(arguments)
    if given.repeats < 1:
        parser.error(f"--repeats {given.repeats}: at least 1")
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        print(f"{given.shape}, float32, {torch.get_num_threads()} threads")
        for row in cases(SHAPES[given.shape], given.repeats):
            print_row({**row, "shape": given.shape}, as_json=given.json, out=out)


def print_row(row: dict, *, as_json: bool, out: TextIO) -> None:
    if as_json:
        print(json.dumps(row), file=out, flush=True)
        return
    print(row["case"], file=out)
    for name, value in row.items():
        if name != "case":
            print(f"  {name:16} {value}", file=out, flush=True)
