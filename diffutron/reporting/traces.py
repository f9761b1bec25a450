"""Denoising step by step: what stands at each position after each step.

A trace is `{prompt, answer, steps: [{step, tokens: [{position, token, confidence}]}]}`; a position
that is filled again later (remasking) simply occurs in more than one step.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FRAMES = 6
HIDDEN = "▒"


@dataclass(frozen=True)
class Slot:
    """One position of the answer: its (step, text, confidence) events in order."""

    events: list[tuple[int, str, float | None]]

    @property
    def text(self) -> str:
        return self.events[-1][1]

    @property
    def step(self) -> int:
        return self.events[-1][0]

    @property
    def confidence(self) -> float | None:
        return self.events[-1][2]

    @property
    def json(self) -> str:
        """The events as the page's script reads them."""
        return json.dumps(self.events, ensure_ascii=False)

    def at(self, step: int) -> tuple[str, bool]:
        """(text, shown) after a step; the final text while the position is still hidden."""
        shown = [text for when, text, _ in self.events if when <= step]
        return (shown[-1], True) if shown else (self.text, False)


@dataclass(frozen=True)
class Trace:
    prompt: str
    answer: str
    slots: list[Slot]
    first: int
    last: int

    def late(self, slot: Slot) -> float:
        """When a position got its final token: 0 at the first step, 1 at the last."""
        return (slot.step - self.first) / max(self.last - self.first, 1)

    @property
    def frames(self) -> list[tuple[int, list[tuple[str, bool]]]]:
        """A few steps, evenly spread from the first to the last, for a page without script.

        A position is (text, shown): a hidden one carries its final text, for the width alone.
        """
        span = self.last - self.first
        num = min(FRAMES, span + 1)
        steps = sorted({self.first + round(k * span / max(num - 1, 1)) for k in range(num)})
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
    events: dict[int, list[tuple[int, str, float | None]]] = {}
    for step in trace["steps"]:
        for token in step["tokens"]:
            event = (step["step"], token["token"], token.get("confidence"))
            events.setdefault(token["position"], []).append(event)
    slots = [Slot(events[position]) for position in sorted(events)]
    steps = [step["step"] for step in trace["steps"]] or [0]
    return Trace(trace["prompt"], trace["answer"], slots, min(steps), max(steps))
