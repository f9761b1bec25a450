"""The geometry of the figures; templates/charts.jinja draws it as inline SVG.

Colors and fonts come from the page's style sheet, so a figure follows its light or dark theme.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diffutron.reporting.inputs import Point

CURVE_POINTS = 240
SMOOTH_POINTS = 40
TASK_HEIGHT, BAR_HEIGHT, MODEL_HEIGHT = 76, 30, 15


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


def curve(points: Sequence[Point], *, width: float = 460, height: float = 210) -> dict[str, Any]:
    """A training loss, its running mean, and the held-out losses; empty dict without numbers."""
    train = [(p.step, p.loss) for p in points if p.loss is not None]
    held_out = [(p.step, p.eval_loss) for p in points if p.eval_loss is not None]
    if not train:
        return {}
    raw, smooth = bucket_means(train, CURVE_POINTS), bucket_means(train, SMOOTH_POINTS)
    low, high = _range([y for _, y in raw], [y for _, y in held_out])
    x = Axis(0, max(step for step, _ in [*train, *held_out]), 44, width - 20)
    y = Axis(low, high, height - 26, 10)
    return {
        "width": width,
        "height": height,
        "x_ticks": x.ticks(),
        "y_ticks": y.ticks(),
        "raw": _path(raw, x, y),
        "smooth": _path(smooth, x, y),
        "held_out": _path(held_out, x, y),
        "dots": [(x.at(s), y.at(v), f"step {s}: held-out loss {v:.3f}") for s, v in held_out],
        "bottom": y.start,
        "left": x.start,
        "right": x.end,
    }


def bucket_means(points: Sequence[tuple[float, float]], num: int) -> list[tuple[float, float]]:
    """At most `num` points, each the mean of its share of the given ones."""
    size = max(1, math.ceil(len(points) / num))
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(s for s, _ in g) / len(g), sum(v for _, v in g) / len(g)) for g in groups]


def _range(losses: list[float], held_out: list[float]) -> tuple[float, float]:
    """All held-out losses and all but the highest 2 % of the training losses are inside."""
    ordered = sorted(losses)
    inside = [*ordered[: max(1, math.ceil(0.98 * len(ordered)))], *held_out]
    margin = 0.05 * (max(inside) - min(inside)) or 0.05
    return max(0.0, min(inside) - margin), max(inside) + margin


def _path(points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    return " ".join(f"{x.at(step)},{y.at(value)}" for step, value in points)


def bars(rows: Sequence[tuple[str, float | None]], *, width: float = 1000) -> dict[str, Any]:
    """Horizontal bars from zero, a row for each (label, value) that was measured."""
    measured = [(label, value) for label, value in rows if value is not None]
    if not measured:
        return {}
    axis = Axis(0, max(value for _, value in measured) * 1.12, 150, width - 10)
    return {
        "width": width,
        "height": BAR_HEIGHT * len(measured) + 8,
        "left": axis.start,
        "rows": [
            {"label": label, "y": BAR_HEIGHT * k + 6, "end": axis.at(value), "text": f"{value:.3f}"}
            for k, (label, value) in enumerate(measured)
        ],
    }


def strip(seconds: Sequence[tuple[str, float]], *, width: float = 1000) -> dict[str, Any]:
    """One bar cut into stages by their share of the time."""
    total = sum(value for _, value in seconds)
    if not total:
        return {}
    parts, start = [], 0.0
    for k, (stage, value) in enumerate(seconds):
        share = value / total
        parts.append({"stage": stage, "x": start, "width": share * width, "share": share, "k": k})
        start += share * width
    return {"width": width, "height": 46, "parts": parts}


def accuracies(
    rows: Sequence[dict[str, Any]], models: Sequence[str], *, width: float = 1000
) -> dict[str, Any]:
    """A row a task: an interval a model, chance, best constant, and the published scores.

    A row holds `task`, `label`, `chance`, `constant` (shares), `scores` {model: {acc, low, high}}
    and `published` {model: accuracy x 100}.
    """
    axis = Axis(0, 100, 150, width - 16)
    measured = [row for row in rows if row["scores"]]
    if not measured:
        return {}
    groups = [_group(row, models, axis, TASK_HEIGHT * k + 8) for k, row in enumerate(measured)]
    height = TASK_HEIGHT * len(groups) + 34
    return {
        "width": width,
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
        score, published = row["scores"].get(model), row["published"].get(model)
        if score is not None:
            marks.append(_mark(score, published, axis, model, top + 9 + MODEL_HEIGHT * k))
    references = [(name, row[name]) for name in ("chance", "constant") if row[name] is not None]
    return {
        "label": row["label"],
        "top": top,
        "bottom": top + TASK_HEIGHT - 12,
        "marks": marks,
        "references": [
            {"kind": kind, "x": axis.at(100 * value), "text": f"{kind} {100 * value:.1f}"}
            for kind, value in references
        ],
    }


def _mark(
    score: dict[str, Any], published: float | None, axis: Axis, model: str, y: float
) -> dict[str, Any]:
    acc: float = score["acc"]
    low, high = (acc if score.get(k) is None else float(score[k]) for k in ("low", "high"))
    return {
        "model": model,
        "y": y,
        "x": axis.at(100 * acc),
        "low": axis.at(100 * low),
        "high": axis.at(100 * high),
        "text": f"{100 * acc:.1f} ({100 * low:.1f} - {100 * high:.1f})",
        "published": None if published is None else axis.at(published),
        "published_text": published,
    }
