"""A data card as one page that needs nothing else: pictures are inline SVG, drawn by the template.

A card is a list of sections; `templates/card.html.jinja` knows how each kind is drawn.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

WIDTH = 460.0  # of the longest bar
KEPT_EXAMPLES = 20
DROPPED_EXAMPLES = 5  # of each reason
LENGTHS = (0, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class Words:
    text: str
    title: str = ""
    kind: str = "words"


@dataclass(frozen=True)
class Rows:
    title: str
    head: Sequence[str]
    rows: Iterable[Sequence[Any]]
    kind: str = "rows"


@dataclass(frozen=True)
class Examples:
    title: str
    rows: Sequence[Mapping[str, str]]
    kind: str = "examples"


@dataclass(frozen=True)
class Bar:
    """`width` is drawn from `start`; `lost` follows it in another color."""

    label: str
    number: int
    width: float
    lost: float = 0.0
    note: str = ""


@dataclass
class Bars:
    """Counts by name, as horizontal bars."""

    title: str
    counts: Mapping[str, int]
    axis: str
    kind: str = "bars"
    bars: list[Bar] = field(init=False)

    def __post_init__(self) -> None:
        most = max(self.counts.values(), default=0) or 1
        self.bars = [
            Bar(name, number, WIDTH * number / most) for name, number in self.counts.items()
        ]


@dataclass
class Flow:
    """How many come in, what each step takes out, how many are left after it."""

    title: str
    kept: int
    dropped: Mapping[str, int]
    kind: str = "bars"
    axis: str = ""
    bars: list[Bar] = field(init=False)

    def __post_init__(self) -> None:
        rows = flow(self.kept, self.dropped)
        scale = WIDTH / max(rows[0][1], 1)
        self.bars = [
            Bar(step, left, scale * left, scale * gone, f"-{gone:,}" if gone else "")
            for step, left, gone in rows
        ]


Section = Words | Rows | Examples | Bars | Flow


def flow(kept: int, dropped: Mapping[str, int]) -> list[tuple[str, int, int]]:
    """What came in, then for each reason, in the order of the steps: its name, how many were left
    after it, how many went. Pieces of a document that was split count one by one."""
    left = kept + sum(dropped.values())
    found = [("read", left, 0)]
    for reason, gone in dropped.items():
        left -= gone
        found.append((reason, left, gone))
    return found


def histogram(lengths: Mapping[int, int], lows: Sequence[int] = LENGTHS) -> dict[str, int]:
    """From how often each length occurs: the lower bound of each bin and its count."""
    counts, _ = np.histogram(
        list(lengths), bins=[*lows, np.iinfo(np.int64).max], weights=list(lengths.values())
    )
    return {str(low): int(count) for low, count in zip(lows, counts, strict=True)}


def reasons_text(counts: Mapping[str, int], *, besides: Sequence[str] = ("kept",)) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if name not in besides)


def cleaned_of_text(tasks: Sequence[str]) -> str:
    """Which evaluation sets were looked for in the training texts."""
    return f"Cleaned of the evaluation sets: {', '.join(tasks) or 'none'}."


def steps_csv(flows: Mapping[str, tuple[int, Mapping[str, int]]]) -> str:
    """Flows (name: kept and dropped) as a table that DVC plots: what is left after each step."""
    lines = ["step,left,dropped"]
    for name, (kept, dropped) in flows.items():
        lines += [f"{name}{step},{left},{gone}" for step, left, gone in flow(kept, dropped)]
    return "\n".join(lines) + "\n"


def page(title: str, sections: Iterable[Section]) -> str:
    """The HTML of a card; every text in it is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("diffutron.data"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("card.html.jinja")
    return template.render(title=title, sections=list(sections), width=WIDTH)
