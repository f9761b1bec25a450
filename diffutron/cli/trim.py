"""`diffutron trim`: a model with a smaller vocabulary."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from diffutron.cli.model import Model, user_errors
from diffutron.cli.output import only_json


def trim(
    model: Model,
    data: Annotated[
        Path, typer.Option(help="File or folder of texts: JSONL, JSON, CSV, TSV, parquet or text.")
    ],
    size: Annotated[
        int, typer.Option(min=1, help="Tokens to keep: the most frequent ones in the texts.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the smaller model; must be new.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one JSON object; all else goes to stderr.")
    ] = False,
) -> None:
    """Cut the vocabulary of a model to the tokens that your texts use.

    A row is {"text": "..."} or one of the rows of `tune`. Bytes, special tokens and what the kept
    tokens are merged from are kept besides, so that no text becomes unknown. A twentieth of the
    texts is held back: it tells tokens per word before and after.
    """
    from rich.console import Console
    from rich.table import Table

    from diffutron.tuning.trim import table_rows, trim_model

    print_json = only_json(as_json)
    with user_errors():
        values = trim_model(model, data, size, out, told=_tell)
    if not as_json:
        table = Table(f"{values['texts']['heldout']} held-back texts")
        for side in ("before", "after"):
            table.add_column(side, justify="right")
        for row in table_rows(values):
            table.add_row(*row)
        Console().print(table)
        print(f"diffutron chat --model {out}")
    print_json(values)


def _tell(line: str) -> None:
    print(f"trim: {line}", file=sys.stderr, flush=True)
