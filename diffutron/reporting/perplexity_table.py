"""The candidates for a published perplexity as one table, the published numbers below it."""

from collections.abc import Mapping
from typing import Any

from diffutron.paper.published import PERPLEXITY
from diffutron.reporting.format import decimal

UNITS = ("token", "word", "byte")


def table_lines(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A Markdown table: one column a model, one row a candidate."""
    first = next(iter(found.values()))
    lines = [
        f"{first['documents']} texts: {first['tokens']} tokens, {first['words']} words, "
        f"{first['bytes']} bytes (tokens of the first model)",
        "",
        f"| perplexity | {' | '.join(found)} |",
        "|---|" + "---|" * len(found),
    ]
    for rate in first["masked"]:
        cells = [decimal(one["masked"][rate]) for one in found.values()]
        lines.append(f"| masked token, {100 * float(rate):g} % masked | {' | '.join(cells)} |")
    for kind, name in (("nelbo", "NELBO"), ("pseudo", "pseudo")):
        for unit in UNITS:
            cells = [decimal(one[kind][unit]) for one in found.values()]
            lines.append(f"| {name}, a {unit} | {' | '.join(cells)} |")
    base, merged = PERPLEXITY["base"], PERPLEXITY["merged"]
    lines += ["", f"published, protocol not stated: {base} before pre-training, {merged} after"]
    return lines
