"""What a finished build prints: the table of results, one answer, the next commands to try."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

SUMMARY = Path("metrics/summary.json")
ANSWERS = Path("data/evaluation/instructions_phase2.jsonl")
REGISTERED = Path("registry/registered.json")
PAGE = Path("report/report.html")
MODELS = {"base": "base", "merged": "merged", "phase1": "phase 1", "phase2": "phase 2"}
NEXT = (
    ("open {page}", "the report: curves, intervals, answers being denoised"),
    ("diffutron up", "Prefect and MLflow in the browser; train again with other settings"),
    ("dvc repro", "the same stages without Prefect: all up to date now"),
    ("dvc metrics diff", "what a changed params.yaml did to the results"),
)


def show_results(console: Console) -> None:
    summary = json.loads(SUMMARY.read_text(encoding="utf-8"))
    console.print(results_table(summary["models"]))
    console.print("* better than chance and than the best constant answer, p < 0.001\n")
    if ANSWERS.exists():
        with ANSWERS.open(encoding="utf-8") as rows:
            first = json.loads(next(rows))
        console.print("[bold]A question held out of the training, and the answer of phase 2[/bold]")
        console.print(first["prompt"], markup=False)
        console.print(f"-> {first['generated']}", style="green", markup=False)
        console.print(f"   (expected: {first['expected']})\n", style="dim", markup=False)
    console.print(registered_line(), markup=False)
    for command, why in NEXT:
        line = f"  {command.format(page=PAGE):24} {why}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def results_table(models: dict[str, Any]) -> Table:
    """One row a measure, one column a model; fractions as percentages."""
    shown = [model for model in MODELS if model in models]
    table = Table(title="Results")
    table.add_column("measure")
    for model in shown:
        table.add_column(MODELS[model], justify="right")

    def row(name: str, *path: str, percent: bool = True) -> None:
        cells = [_cell(_at(models[model], path), percent=percent) for model in shown]
        table.add_row(name, *cells)

    row("bits a byte, held-out text", "bits_per_byte", percent=False)
    for task in _at(models[shown[-1]], ("tasks",)) or {}:
        cells = [_task_cell(_at(models[model], ("tasks", task))) for model in shown]
        table.add_row(f"{task}, % right", *cells)
    row("instructions answered exactly, %", "instructions", "acc")
    row("valid words in what it writes, %", "generation", "valid_words")
    return table


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _cell(value: float | None, *, percent: bool) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.1f}" if percent else f"{value:.3f}"


def _task_cell(task: dict[str, Any] | None) -> str:
    if task is None or task["acc"] is None:
        return "-"
    return f"{100 * task['acc']:.1f}{'*' if task['p_value'] < 0.001 else ' '}"


def registered_line() -> str:
    if not REGISTERED.exists():
        return "Nothing was registered. Next:"
    registered = json.loads(REGISTERED.read_text(encoding="utf-8"))
    if registered["registered"]:
        return f"Registered as version {registered['version']}, alias challenger. Next:"
    return f"Logged but not registered: {'; '.join(registered['failed'])}. Next:"
