"""Denoising step by step: what stands at each position after each step.

A trace is `{prompt, answer, steps: [{step, tokens: [{position, token, confidence}]}]}`, and
`expected` where there is a right answer. A position that is filled again later (remasking) occurs
in more than one step; in between its token is null.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Event = tuple[int, str | None, float | None]

MARKER = re.compile(r"\[/?[A-Za-z]+\]|<[a-z]+>")
FRAMES = 6
HIDDEN = "▒"


@dataclass(frozen=True)
class Slot:
    """One position of the answer: its (step, text, confidence) events in order.

    A text of None is the position opened again by remasking.
    """

    events: list[Event]

    @property
    def last(self) -> "Event":
        """How the position was filled for good."""
        filled = [event for event in self.events if event[1] is not None]
        return filled[-1] if filled else (self.events[-1][0], "", None)

    @property
    def text(self) -> str:
        return self.last[1] or ""

    @property
    def step(self) -> int:
        return self.last[0]

    @property
    def confidence(self) -> float | None:
        return self.last[2]

    @property
    def is_marker(self) -> bool:
        """A token that ends the answer rather than being said."""
        return MARKER.fullmatch(self.text.strip()) is not None

    @property
    def json(self) -> str:
        """The events as the page's script reads them."""
        return json.dumps(self.events, ensure_ascii=False)

    def at(self, step: int) -> tuple[str, bool]:
        """(text, shown) after a step; the final text while the position is still hidden."""
        past = [text for when, text, _ in self.events if when <= step]
        now = past[-1] if past else None
        return (self.text, False) if now is None else (now, True)


@dataclass(frozen=True)
class Trace:
    prompt: str
    answer: str
    expected: str | None
    slots: list[Slot]
    first: int
    last: int

    def late(self, slot: Slot) -> float:
        """When a position got its final token: 0 at the first step, 1 at the last."""
        return (slot.step - self.first) / max(self.last - self.first, 1)

    @property
    def frames(self) -> list[tuple[int, list[tuple[str, bool]]]]:
        """A few of the steps in which something happened, for a page without script.

        A position is (text, shown): a hidden one carries its final text, for the width alone.
        """
        found = sorted({step for slot in self.slots for step, _, _ in slot.events}) or [self.last]
        num = min(FRAMES, len(found))
        chosen = sorted({round(k * (len(found) - 1) / max(num - 1, 1)) for k in range(num)})
        steps = [found[k] for k in chosen]
        return [(step, [slot.at(step) for slot in self.slots]) for step in steps]

    def lines(self) -> list[str]:
        """The frames as text; a hidden position is grey blocks."""
        return [
            f"step {step:>3}  " + "".join(_drawn(text, shown) for text, shown in slots)
            for step, slots in self.frames
        ]


def _drawn(text: str, shown: bool) -> str:
    return text if shown else "".join(" " if c.isspace() else HIDDEN for c in text)


def read_traces(traces: Sequence[dict[str, Any]]) -> list[Trace]:
    """From the file's form (by step) to the page's (by position)."""
    return [_trace(trace) for trace in traces]


def _trace(trace: dict[str, Any]) -> Trace:
    events: dict[int, list[Event]] = {}
    for step in trace["steps"]:
        for token in step["tokens"]:
            event = (step["step"], token["token"], token.get("confidence"))
            events.setdefault(token["position"], []).append(event)
    slots = [Slot(events[position]) for position in sorted(events)]
    if slots:  # the space before the first word belongs to the prompt
        first = [(step, text and text.lstrip(), sure) for step, text, sure in slots[0].events]
        slots[0] = Slot(first)
    steps = [step["step"] for step in trace["steps"]] or [0]
    expected = trace.get("expected")
    return Trace(trace["prompt"], trace["answer"], expected, slots, min(steps), max(steps))
