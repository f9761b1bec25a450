"""Denoising step by step: what stands at each position after each step.

A file holds a trace by step: `{prompt, answer, block_length, steps: [{step, tokens: [{position,
token, confidence}]}]}`, and `expected` where there is a right answer. Here it is read by position.
A position that is filled again later (remasking) occurs in more than one step; in between its
token is null.
"""

import json
import re
from dataclasses import dataclass
from itertools import groupby
from typing import Any

Event = tuple[int, str | None, float | None]  # step, text, confidence

MARKER = re.compile(r"\[/?[A-Za-z]+\]|<[a-z]+>")
FRAMES = 6
HIDDEN = "▒"


@dataclass(frozen=True)
class Slot:
    """One position of the answer, and its events in order.

    A text of None is the position opened again by remasking.
    """

    position: int
    events: list[Event]

    @property
    def last(self) -> Event:
        """How the position was filled for good."""
        filled = [event for event in self.events if event[1] is not None]
        return filled[-1] if filled else (self.events[-1][0], "", None)

    @property
    def text(self) -> str:
        return self.last[1] or ""

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
    """A trace by position; readers are told steps from 1 on, whatever `first` is."""

    prompt: str
    answer: str
    expected: str | None
    block_length: int | None
    slots: list[Slot]
    first: int
    last: int

    def number(self, step: int) -> int:
        """How many steps were done when this one was."""
        return step - self.first + 1

    @property
    def blocks(self) -> list[list[Slot]]:
        """The slots by the block that they were denoised in."""
        length = self.block_length or len(self.slots) + 1
        groups = groupby(self.slots, key=lambda slot: slot.position // length)
        return [list(group) for _, group in groups]

    @property
    def frames(self) -> list[tuple[int, list[tuple[str, bool]]]]:
        """A few of the steps in which something happened, for a page without script.

        A position is (text, shown): a hidden one carries its final text, for the width alone.
        """
        found = sorted({step for slot in self.slots for step, _, _ in slot.events}) or [self.last]
        num = min(FRAMES, len(found))
        chosen = sorted({round(k * (len(found) - 1) / max(num - 1, 1)) for k in range(num)})
        steps = [found[k] for k in chosen]
        return [(self.number(step), [slot.at(step) for slot in self.slots]) for step in steps]

    def lines(self) -> list[str]:
        """The frames as text; a hidden position is grey blocks."""
        lines = []
        for number, slots in self.frames:
            texts = [
                text if shown else "".join(" " if c.isspace() else HIDDEN for c in text)
                for text, shown in slots
            ]
            lines.append(f"step {number:>3}  {''.join(texts)}")
        return lines


def read_trace(values: dict[str, Any]) -> Trace:
    """From the file's form (by step) to the reader's (by position)."""
    events: dict[int, list[Event]] = {}
    for step in values["steps"]:
        for token in step["tokens"]:
            event = (step["step"], token["token"], token.get("confidence"))
            events.setdefault(token["position"], []).append(event)
    if events:  # the space before the first word belongs to the prompt
        first = min(events)
        events[first] = [(step, text and text.lstrip(), sure) for step, text, sure in events[first]]
    steps = [step["step"] for step in values["steps"]] or [0]
    return Trace(
        values["prompt"],
        values["answer"],
        values.get("expected"),
        values.get("block_length"),
        [Slot(position, listed) for position, listed in sorted(events.items())],
        min(steps),
        max(steps),
    )
