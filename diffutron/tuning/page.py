"""What came of a tuning, for people: a table, a sentence, the model's card."""

from typing import TYPE_CHECKING, Any

from diffutron.runtime.hub import is_hub_name, split_name
from diffutron.runtime.tables import markdown_table
from diffutron.tuning.settings import TuneParams

if TYPE_CHECKING:
    from rich.console import Console

HEADER = ["held-out rows", "before", "after"]
SHOWN = 300  # letters of a question or an answer


def how_tuned(settings: TuneParams, parameters: int, num_rows: int) -> str:
    """The settings that matter most, in one line."""
    training = settings.training
    steps = training.steps or round((training.epochs or 0.0) * num_rows / training.batch_size)
    epochs = steps * training.batch_size / num_rows
    what = "all weights" if settings.method == "full" else f"LoRA of rank {settings.lora.rank}"
    return (
        f"{what} of {parameters / 1e6:.1f} M parameters, {steps} steps of {training.batch_size} "
        f"rows ({epochs:.1f} epochs), learning rate {training.learning_rate:g}"
    )


def table_rows(values: dict[str, Any]) -> list[list[str]]:
    """The rows of the table before / after."""
    sides = (values["before"], values["after"])
    rows = [
        [f"exact answers, of {sides[0]['n']}", *(str(one["correct"]) for one in sides)],
        ["exact answers, %", *(f"{100 * one['exact']:.1f}" for one in sides)],
        [
            "  95 % interval",
            *(f"{100 * one['low']:.0f} - {100 * one['high']:.0f}" for one in sides),
        ],
        ["  commonest answer, always", *[f"{100 * values['best_constant']:.1f}"] * 2],
        ["  bag of words", "", f"{100 * values['bag_of_words']:.1f}"],
        ["bits per byte of right answers", *(f"{one['bits_per_byte']:.3f}" for one in sides)],
    ]
    if None not in (sides[0]["loss"], sides[1]["loss"]):
        rows.append(["held-out loss, nats per token", *(f"{one['loss']:.3f}" for one in sides)])
    return rows


def verdict_words(values: dict[str, Any]) -> str:
    """What the two tests say, in a sentence each."""
    said = []
    names = {"exact": "Exact answers", "bits_per_byte": "Likelihood of the right answers"}
    for key, name in names.items():
        found = values["difference"][key]
        if found is None:
            said.append(f"{name}: one row is too few for a test.")
        else:
            said.append(f"{name}: {found['verdict']} (p = {found['p_value']:.2g}).")
    return " ".join(said)


def card(values: dict[str, Any], *, settings: TuneParams, parameters: int) -> str:
    """The README of a tuned model. It holds no row of the data."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("diffutron.tuning"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    base = values["base"]
    return environment.get_template("card.md.jinja").render(
        **values,
        name=values["model"],
        base_model=split_name(base)[0] if is_hub_name(base) else None,
        table=markdown_table(HEADER, table_rows(values)),
        words=verdict_words(values),
        how=how_tuned(settings, parameters, values["rows"]["train"]),
    )


def print_outcome(
    console: "Console", values: dict[str, Any], samples: list[dict[str, str]]
) -> None:
    """The table, the verdicts, and a sample of answers."""
    from rich.table import Table
    from rich.text import Text

    table = Table(HEADER[0])
    for side in HEADER[1:]:
        table.add_column(side, justify="right")
    for row in table_rows(values):
        table.add_row(*row)
    console.print(table)
    console.print(verdict_words(values), highlight=False)
    for sample in samples:
        console.print(Text(_short(sample["prompt"]), style="bold cyan"))
        for name in ("expected", "before", "after"):
            console.print(Text.assemble((f"{name:>9}: ", "dim"), _short(sample[name])))
    console.print(f"\ndiffutron chat --model {values['model']}", highlight=False, markup=False)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
