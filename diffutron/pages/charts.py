"""The geometry of the figures; templates/charts.jinja draws it as inline SVG.

Colors and fonts come from the page's style sheet, so a figure follows its light or dark theme.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CURVE_POINTS = 240
SMOOTH_POINTS = 40
TASK_HEIGHT, BAR_HEIGHT, MODEL_HEIGHT = 76, 30, 15
WIDTH, LABEL_WIDTH = 1000, 150

Points = Sequence[tuple[float, float]]
"""(step, value) of a curve, in the order of the steps."""


@dataclass(frozen=True)
class Axis:
    """A linear map from the values `low`..`high` to the coordinates `start`..`end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The coordinate of a value, kept inside the figure."""
        span = self.high - self.low or 1.0
        share = min(max((value - self.low) / span, 0.0), 1.0)
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self, num: int = 4) -> list[tuple[float, str]]:
        """(coordinate, label) at round values, about `num` of them."""
        step = round_step((self.high - self.low) / num)
        digits = max(0, -math.floor(math.log10(step)))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [(self.at(k * step), f"{k * step:.{digits}f}") for k in range(first, last + 1)]


def round_step(width: float) -> float:
    """The smallest of 1, 2, 5 x 10^k that is at least `width`."""
    if width <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(width))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= width * (1 - 1e-9))


def curve(train: Points, held_out: Points) -> dict[str, Any]:
    """Training losses, their running mean, and held-out losses; empty without training losses.

    The figure is high enough for all held-out losses, and for all but the highest 2 % of the
    training losses.
    """
    if not train:
        return {}
    raw, smooth = bucket_means(train, CURVE_POINTS), bucket_means(train, SMOOTH_POINTS)
    ordered = sorted(value for _, value in raw)
    inside = ordered[: max(1, math.ceil(0.98 * len(ordered)))]
    inside += [value for _, value in held_out]
    margin = 0.05 * (max(inside) - min(inside)) or 0.05
    width, height = 460, 210
    x = Axis(0, max(step for step, _ in [*train, *held_out]), 44, width - 20)
    y = Axis(max(0.0, min(inside) - margin), max(inside) + margin, height - 26, 10)
    lines = {"raw": raw, "smooth": smooth, "held_out": held_out}
    return {
        "width": width,
        "height": height,
        "x_ticks": x.ticks(),
        "y_ticks": y.ticks(),
        **{
            name: " ".join(f"{x.at(step)},{y.at(value)}" for step, value in points)
            for name, points in lines.items()
        },
        "dots": [(x.at(s), y.at(v), f"step {s}: held-out loss {v:.3f}") for s, v in held_out],
        "bottom": y.start,
        "left": x.start,
        "right": x.end,
    }


def lines(named: Mapping[str, Points]) -> dict[str, Any]:
    """Curves on common axes, one per name; names without points are left out."""
    drawn = {name: points for name, points in named.items() if points}
    if not drawn:
        return {}
    every = [point for points in drawn.values() for point in points]
    values = [value for _, value in every]
    margin = 0.05 * (max(values) - min(values)) or 0.05
    width, height = 460, 230
    x = Axis(0, max(place for place, _ in every), 52, width - 12)
    y = Axis(min(values) - margin, max(values) + margin, height - 26, 10)
    return {
        "width": width,
        "height": height,
        "x_ticks": x.ticks(),
        "y_ticks": y.ticks(),
        "lines": [
            {
                "name": name,
                "number": number,
                "points": " ".join(f"{x.at(place)},{y.at(value)}" for place, value in points),
                "last": (x.at(points[-1][0]), y.at(points[-1][1])),
                "text": f"{name}: {points[-1][1]:.4g}",
            }
            for number, (name, points) in enumerate(drawn.items())
        ],
        "bottom": y.start,
        "left": x.start,
        "right": x.end,
    }


def bucket_means(points: Points, num: int) -> list[tuple[float, float]]:
    """At most `num` points, each the mean of its share of the given ones."""
    size = max(1, math.ceil(len(points) / num))
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(s for s, _ in g) / len(g), sum(v for _, v in g) / len(g)) for g in groups]


@dataclass(frozen=True)
class Bar:
    """A horizontal bar from zero; `lost` follows the value in another color."""

    label: str
    value: float
    text: str
    tone: str = ""  # a class of the style sheet
    lost: float = 0.0


def bars(rows: Sequence[Bar], *, text_width: int = 100) -> dict[str, Any]:
    """Horizontal bars, one per row; `text_width` is kept free behind the longest one."""
    if not rows:
        return {}
    longest = max(row.value + row.lost for row in rows)
    axis = Axis(0, longest, LABEL_WIDTH, WIDTH - text_width)
    return {
        "width": WIDTH,
        "height": BAR_HEIGHT * len(rows) + 8,
        "left": axis.start,
        "rows": [
            {
                "label": row.label,
                "y": BAR_HEIGHT * k + 6,
                "end": axis.at(row.value),
                "lost": axis.at(row.value + row.lost) if row.lost else None,
                "text": row.text,
                "tone": row.tone,
            }
            for k, row in enumerate(rows)
        ],
    }


def strip(seconds: Sequence[tuple[str, float]]) -> dict[str, Any]:
    """One bar cut into stages by their share of the time."""
    total = sum(value for _, value in seconds)
    if not total:
        return {}
    parts, start = [], 0.0
    for k, (stage, value) in enumerate(seconds):
        share = value / total
        parts.append({"stage": stage, "x": start, "width": share * WIDTH, "share": share, "k": k})
        start += share * WIDTH
    return {"width": WIDTH, "height": 46, "parts": parts}


def accuracies(rows: Sequence[dict[str, Any]], models: Sequence[str]) -> dict[str, Any]:
    """One row per task: an interval per model, chance, best constant, and the published scores.

    A row holds `label`, `chance`, `constant` (shares), `scores` {model: (acc, low, high)}
    and `published` {model: accuracy x 100}.
    """
    axis = Axis(0, 100, LABEL_WIDTH, WIDTH - 16)
    measured = [row for row in rows if row["scores"]]
    if not measured:
        return {}
    groups = [_group(row, models, axis, TASK_HEIGHT * k + 8) for k, row in enumerate(measured)]
    height = TASK_HEIGHT * len(groups) + 34
    return {
        "width": WIDTH,
        "height": height,
        "left": axis.start,
        "right": axis.end,
        "bottom": height - 26,
        "x_ticks": axis.ticks(10),
        "groups": groups,
    }


def _group(row: dict[str, Any], models: Sequence[str], axis: Axis, top: float) -> dict[str, Any]:
    marks = []
    for k, model in enumerate(models):
        if model not in row["scores"]:
            continue
        acc, low, high = row["scores"][model]
        low, high = (acc if bound is None else bound for bound in (low, high))
        published = row["published"][model]
        marks.append(
            {
                "model": model,
                "y": top + 9 + MODEL_HEIGHT * k,
                "x": axis.at(100 * acc),
                "low": axis.at(100 * low),
                "high": axis.at(100 * high),
                "text": f"{100 * acc:.1f} ({100 * low:.1f} - {100 * high:.1f})",
                "published": None if published is None else axis.at(published),
                "published_text": published,
            }
        )
    return {
        "label": row["label"],
        "top": top,
        "bottom": top + TASK_HEIGHT - 12,
        "marks": marks,
        "references": [
            {"kind": kind, "x": axis.at(100 * row[kind]), "text": f"{kind} {100 * row[kind]:.1f}"}
            for kind in ("chance", "constant")
            if row[kind] is not None
        ],
    }
