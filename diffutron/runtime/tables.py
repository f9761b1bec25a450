"""Nested values as flat rows, and rows as a Markdown table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def flatten(values: Mapping[str, Any], *, separator: str = ".") -> dict[str, Any]:
    """Every leaf of nested mappings under the joined names of its keys; lists are leaves."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            inner = flatten(value, separator=separator)
            found |= {f"{key}{separator}{name}": leaf for name, leaf in inner.items()}
        else:
            found[str(key)] = value
    return found


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table without a line break at its end; a bar in a cell is escaped."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += [
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows
    ]
    return "\n".join(lines)
