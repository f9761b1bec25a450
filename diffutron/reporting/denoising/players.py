"""The two ways to play a trace: a page with a slider, and one animated picture (SVG with CSS).

The page's player is that of the report (templates/player.jinja). The picture needs nothing to load
or to run; a renderer without animation, and a reader who wants none, see the finished text.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from diffutron.pages.render import render
from diffutron.reporting.denoising.trace import Trace, read_trace

COLUMNS = 64  # characters of a line
CHAR, LINE, EDGE = 10, 34, 24  # pixels: of a character, a line, around the text
STEP_SECONDS, REST_SECONDS = 0.28, 3.0  # of a step, and of the finished text before it starts anew
LONGEST_SECONDS = 16.0
LOW, HIGH = (244, 184, 96), (92, 196, 182)  # colors of confidence 0 and 1


def trace_page(traces: Sequence[dict[str, Any]]) -> str:
    """The page that plays traces in the form of a file, one below the other; needs no network."""
    view = {"traces": [read_trace(trace) for trace in traces]}
    return render("trace.html.jinja", view, package="diffutron.reporting")


@dataclass(frozen=True)
class Shown:
    """A token at a position from one step until another (None: to the end)."""

    position: int
    text: str
    confidence: float
    first: int
    until: int | None

    @property
    def animation(self) -> str:
        return f"s{self.first}" + ("" if self.until is None else f"u{self.until}")

    def keyframes(self, share: float) -> str:
        """Hidden before its step, seen from then on; step 0 is seen after one step's time."""
        steps = [f"0%{{opacity:0}}{(self.first + 1) * share:.2f}%{{opacity:1}}"]
        if self.until is not None:
            steps.append(f"{(self.until + 1) * share:.2f}%{{opacity:0}}")
        return f"@keyframes {self.animation}{{{''.join(steps)}}}"


def shown_tokens(trace: Trace) -> list[Shown]:
    """The tokens of a trace with the steps in which they can be seen."""
    found: list[Shown] = []
    for slot in trace.slots:
        ends = [step for step, _, _ in slot.events[1:]]
        for (step, text, sure), until in zip(slot.events, [*ends, None], strict=True):
            if text is not None:
                found.append(Shown(slot.position, visible(text), sure or 0.0, step, until))
    return found


def visible(text: str) -> str:
    """Line breaks as a sign, and no character that XML forbids (a byte token may be one)."""
    text = text.replace("\n", "\u23ce")
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def trace_picture(trace: dict[str, Any]) -> str:
    """The SVG that plays a trace: masks as boxes, tokens as they appear, greener the surer."""
    tokens = shown_tokens(read_trace(trace))
    places, num_lines = layout(tokens)
    asked = visible(" ".join(trace["prompt"].split()))
    question = textwrap.wrap(asked, COLUMNS, max_lines=3, placeholder=" ...") or [""]
    top = EDGE + 22 * len(question) + 10
    width, height = COLUMNS * CHAR + 2 * EDGE, top + num_lines * LINE + EDGE
    last = max((token.first for token in tokens), default=0)
    seconds = REST_SECONDS + min(STEP_SECONDS * (last + 1), LONGEST_SECONDS)
    share = 100 * (1 - REST_SECONDS / seconds) / (last + 1)  # of the time, for a step
    view = {
        "asked": asked,
        "answer": visible(trace["answer"]),
        "question": [(EDGE, EDGE + 14 + 22 * number, line) for number, line in enumerate(question)],
        "width": width,
        "height": height,
        "keyframes": sorted({token.keyframes(share) for token in tokens}),
        "masks": [_box(*place, top) for place in places.values()],
        "tokens": [(token, _color(token), *_box(*places[token.position], top)) for token in tokens],
        "seconds": f"{seconds:.2f}",
        "char": CHAR,
    }
    return render("trace.svg.jinja", view, package="diffutron.reporting")


def layout(tokens: list[Shown]) -> tuple[dict[int, tuple[int, int, int]], int]:
    """(line, column, width in characters) of each position by its widest token, and the number of
    lines; a token that begins a word begins a new line where it would not fit."""
    widths: dict[int, int] = {}
    for token in tokens:
        widths[token.position] = max(widths.get(token.position, 1), len(token.text))
    texts = {token.position: token.text for token in tokens}
    places: dict[int, tuple[int, int, int]] = {}
    line = column = 0
    for word in _words(sorted(widths), texts):
        if column and column + sum(widths[position] for position in word) > COLUMNS:
            line, column = line + 1, 0
        for position in word:
            if column and column + widths[position] > COLUMNS:
                line, column = line + 1, 0
            places[position] = (line, column, widths[position])
            column += widths[position]
    return places, line + 1


def _words(positions: list[int], texts: dict[int, str]) -> Iterator[list[int]]:
    """Positions whose tokens belong to one word: the next begins with a space."""
    word: list[int] = []
    for position in positions:
        if word and texts[position][:1].isspace():
            yield word
            word = []
        word.append(position)
    yield word


def _color(token: Shown) -> str:
    sure = min(1.0, max(0.0, token.confidence))
    parts = (f"{round(low + (high - low) * sure):02x}" for low, high in zip(LOW, HIGH, strict=True))
    return f"#{''.join(parts)}"


def _box(line: int, column: int, width: int, top: int) -> tuple[int, int, int]:
    """Left edge, top and width of a token's box, in pixels."""
    return EDGE + column * CHAR + 1, top + line * LINE, width * CHAR - 2
