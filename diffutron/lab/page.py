"""The results of a sweep for people: a table in the terminal, and a page with curves."""

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffutron.pages import charts
from diffutron.pages.render import render
from diffutron.runtime.files import write_text

if TYPE_CHECKING:
    from rich.table import Table

HEADER = (
    "arm",
    "mean",
    "sd",
    "n",
    "difference",
    "95 % interval",
    "p",
    "verdict",
    "CPU-s",
    "tokens",
)
NOT_IN_TERMINAL = ("sd", "tokens")  # 80 columns have no room for them


def table_rows(results: dict[str, Any], measure: str) -> list[list[str]]:
    """The cells of the table of one measure, a row per arm."""
    rows = []
    for name, arm in results["arms"].items():
        found = arm["measures"][measure]
        interval = found["interval"]
        rows.append(
            [
                name + (" *" if name == results["best"] and measure == results["measure"] else ""),
                f"{found['mean']:.4g}",
                "-" if found["sd"] is None else f"{found['sd']:.2g}",
                str(found["n"]),
                "" if found["difference"] is None else f"{found['difference']:+.4f}",
                "" if interval is None else f"{interval[0]:+.4f} to {interval[1]:+.4f}",
                "" if found["p"] is None else f"{found['p']:.2g}",
                found["verdict"] or "",
                f"{arm['cpu_seconds']:,.0f}",
                f"{arm['tokens']:,.0f}",
            ]
        )
    return rows


def noise_words(results: dict[str, Any], measure: str) -> str:
    """What the verdicts rest on, in a sentence."""
    sd, df = results["pooled_sd"][measure], results["degrees_of_freedom"][measure]
    if sd is None:
        return (
            "One seed leaves no degree of freedom, so no difference can be told; give more seeds."
        )
    return (
        f"Standard deviation pooled over all arms: {sd:.3g} ({df} degrees of freedom). Verdicts "
        "are Holm-corrected at 0.01."
    )


def table(results: dict[str, Any], measure: str) -> "Table":
    """The table of one measure for the terminal."""
    from rich import box
    from rich.table import Table

    better = "lower" if results["lower_is_better"][measure] else "higher"
    shown = Table(
        title=f"{measure} ({better} is better)",
        caption=noise_words(results, measure),
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )
    for name in HEADER:
        if name not in NOT_IN_TERMINAL:
            shown.add_column(name, justify="left" if name in ("arm", "verdict") else "right")
    for row in table_rows(results, measure):
        kept = zip(HEADER, row, strict=True)
        shown.add_row(*(cell for name, cell in kept if name not in NOT_IN_TERMINAL))
    return shown


def write_page(name: str, results: dict[str, Any], path: Path) -> None:
    """One page: a table per measure, held-out losses over tokens and over seconds."""
    measures = [
        {
            "name": measure,
            "better": "lower" if results["lower_is_better"][measure] else "higher",
            "rows": table_rows(results, measure),
            "noise": noise_words(results, measure),
        }
        for measure in results["pooled_sd"]
    ]
    figures = [
        {"stage": stage, "axis": axis, "chart": charts.lines(mean_curves(results, stage, axis))}
        for stage in dict.fromkeys(s for run in results["runs"] for s in run["curves"])
        for axis in ("tokens", "cpu_seconds")
    ]
    view = {
        "name": name,
        "sweep": results["sweep"],
        "header": HEADER,
        "measures": measures,
        "figures": [one for one in figures if one["chart"]],
        "arms": {arm: one["overrides"] for arm, one in results["arms"].items()},
    }
    write_text(path, render("sweep.html.jinja", view, package="diffutron.lab"))


def mean_curves(
    results: dict[str, Any], stage: str, axis: str
) -> dict[str, list[tuple[float, float]]]:
    """Held-out losses of each arm at a stage, the mean over its seeds at each evaluation."""
    runs: dict[str, list[list[dict[str, float]]]] = defaultdict(list)
    for run in results["runs"]:
        if points := run["curves"].get(stage):
            runs[run["arm"]].append(points)
    return {
        arm: [
            (
                sum(point[axis] for point in points) / len(points),
                sum(point["eval_loss"] for point in points) / len(points),
            )
            for points in zip(*curves, strict=False)
        ]
        for arm, curves in runs.items()
    }
