"""A data card as one page that needs nothing else, in the style of our other pages.

A card is a list of sections; `templates/card.html.jinja` knows how each kind is drawn.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffutron.pages import charts
from diffutron.pages.render import render
from diffutron.text.normalize import REPAIRS

NUMBER_WIDTH = 200  # pixels kept free for the numbers behind the longest bar
KEPT_EXAMPLES = 20
DROPPED_EXAMPLES = 5  # of each reason
MOST_SHOWN = 4_000  # characters of an example
FINDABLE = {
    "items": "items",
    "document": "found in a document",
    "instruction": "found as a question with its right answer",
}
LENGTHS = (0, 8, 16, 32, 64, 128, 256, 512, 1024)


def excerpt(text: str) -> str:
    """The beginning of a text, as an example of a card."""
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}… ({len(text):,} characters)"


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
class Bars:
    """Counts by name, as horizontal bars."""

    title: str
    counts: Mapping[str, int]
    axis: str
    kind: str = "bars"

    @property
    def chart(self) -> dict[str, Any]:
        rows = [charts.Bar(name, number, f"{number:,}") for name, number in self.counts.items()]
        return charts.bars(rows, text_width=NUMBER_WIDTH)


@dataclass(frozen=True)
class Flow:
    """How many come in, what each step takes out, how many are left after it."""

    title: str
    kept: int
    dropped: Mapping[str, int]
    kind: str = "bars"
    axis: str = ""

    @property
    def chart(self) -> dict[str, Any]:
        rows = [
            charts.Bar(step, left, f"{left:,}" + (f" -{gone:,}" if gone else ""), lost=gone)
            for step, left, gone in flow(self.kept, self.dropped)
        ]
        return charts.bars(rows, text_width=NUMBER_WIDTH)


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


def findable_table(findable: Mapping[str, Mapping[str, int]]) -> Rows:
    """How far the search can be trusted: items that it finds where they stand word for word."""
    rows = [[task, *(n[key] for key in FINDABLE)] for task, n in findable.items()]
    return Rows("Evaluation items that the rule can find", ["set", *FINDABLE.values()], rows)


def search_sections(found: Mapping[str, Any]) -> list[Section]:
    """How far the search for evaluation text can be trusted: what it finds, what it finds wrongly.

    found: `findable` by set, and `false_alarms` (empty where nothing was searched for).
    """
    sections: list[Section] = [findable_table(found["findable"])]
    if alarms := found["false_alarms"]:
        texts, wrong = alarms["texts"], alarms["found"]
        share = wrong / max(texts, 1)
        told = (
            f"False alarms, estimated: in {wrong:,} of {texts:,} kept texts ({share:.3%}) the rule "
            "finds a decoy, an item that is none."
        )
        sections.append(Words(told))
    return sections


def repaired_table(repaired: Mapping[str, int], what: str, title: str = "") -> Rows:
    """How many documents or rows each kind of repair changed, of those that were read."""
    rows = [[REPAIRS[kind], number] for kind, number in repaired.items()]
    return Rows(title or "Repaired text", ["what was broken", what], rows)


def steps_csv(flows: Mapping[str, tuple[int, Mapping[str, int]]]) -> str:
    """Flows (name: kept and dropped) as a table that DVC plots: what is left after each step."""
    lines = ["step,left,dropped"]
    for name, (kept, dropped) in flows.items():
        lines += [f"{name}{step},{left},{gone}" for step, left, gone in flow(kept, dropped)]
    return "\n".join(lines) + "\n"


def page(title: str, sections: Iterable[Section]) -> str:
    """The HTML of a card; every text in it is escaped."""
    view = {"title": title, "sections": list(sections)}
    return render("card.html.jinja", view, package="diffutron.data")
