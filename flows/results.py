"""What a finished build prints: the table of results, one answer, the next commands to try."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

NUMBERS = Path("metrics/full.json")
ANSWERS = Path("data/evaluation/instructions_phase2.jsonl")
PAGE = Path("report/report.html")
NOTHING = "Nothing was registered. Next:"
NEXT = (
    ("open {page}", "the report: curves, intervals, answers being denoised"),
    ("diffutron up", "Prefect and MLflow in the browser; train again with other settings"),
    ("dvc repro", "the same stages without Prefect: all up to date now"),
    ("dvc metrics diff", "what a changed params.yaml did to the results"),
)


def show_results(console: Console, *, registered: bool) -> None:
    """Print what was built; `registered` tells whether the build went as far as the registry."""
    numbers = json.loads(NUMBERS.read_text(encoding="utf-8"))
    console.print(results_table(numbers["models"]))
    console.print("* better than chance and than the best constant answer, p < 0.001\n")
    if ANSWERS.exists():
        with ANSWERS.open(encoding="utf-8") as rows:
            first = json.loads(next(rows))
        console.print("[bold]A question held out of the training, and the answer of phase 2[/bold]")
        console.print(first["prompt"], markup=False)
        console.print(f"-> {first['generated']}", style="green", markup=False)
        console.print(f"   (expected: {first['expected']})\n", style="dim", markup=False)
    told = registered_line() if registered else NOTHING
    console.print(told, markup=False, highlight=False, soft_wrap=True)
    for command, why in NEXT:
        line = f"  {command.format(page=PAGE):24} {why}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def results_table(models: dict[str, Any]) -> Table:
    """One row per measure, one column per model; shares as percentages."""
    from diffutron.config.names import MODELS
    from diffutron.runtime.tables import flatten

    shown = {model: flatten(models[model]) for model in MODELS if model in models}
    table = Table(title="Results")
    table.add_column("measure")
    for model in shown:
        table.add_column(model.replace("phase", "phase "), justify="right")

    def row(name: str, key: str, write: Callable[[float], str]) -> None:
        found = [values.get(key) for values in shown.values()]
        table.add_row(name, *("-" if value is None else write(value) for value in found))

    row("bits a byte, held-out text", "bits_per_byte", "{:.3f}".format)
    final = list(shown)[-1]
    for task in models[final].get("tasks") or {}:
        cells = []
        for values in shown.values():
            acc, p_value = (values.get(f"tasks.{task}.{key}") for key in ("acc", "p_value"))
            star = "*" if p_value is not None and p_value < 0.001 else " "
            cells.append("-" if acc is None else f"{100 * acc:.1f}{star}")
        table.add_row(f"{task}, % right", *cells)
    row("instructions answered exactly, %", "instructions.acc", _percent)
    row("valid words in what it writes, %", "generation.valid_words", _percent)
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def registered_line() -> str:
    """What became of the model, as the registry has it now."""
    from diffutron.registry.registered import REGISTERED, last_registered
    from diffutron.runtime.errors import UserError

    if not REGISTERED.exists():
        return NOTHING
    found = last_registered()
    if found is None:
        failed = json.loads(REGISTERED.read_text(encoding="utf-8"))["failed"]
        return f"Logged but not registered: {'; '.join(failed)}. Next:"
    try:
        aliases = found.aliases()
    except UserError as error:
        return f"Registered as version {found.version}; whether it is there now: {error}. Next:"
    if aliases is None:
        gone = f"Version {found.version} of {found.name} is gone from the registry"
        return f"{gone}; `diffutron build` registers it again. Next:"
    told = f"alias {', '.join(aliases)}" if aliases else "no alias points at it"
    return f"Registered as version {found.version}, {told}. Next:"
