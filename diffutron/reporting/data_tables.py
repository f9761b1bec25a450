"""What went into a run: counts and drop reasons of the data cards, and the evaluation sets."""

from typing import Any

from diffutron.config.names import task_name
from diffutron.pages import format
from diffutron.reporting.inputs import Inputs
from diffutron.reporting.tables import Cell, Table, cell, said

CARDS = {"corpus": "Corpus", "phase1": "Instructions, phase 1", "phase2": "Instructions, phase 2"}


def data_tables(inputs: Inputs, *, source: str) -> list[Table]:
    """One table per data set with its drop reasons, and one of the evaluation sets."""
    blocks = {"corpus": inputs.cards["corpus"], **inputs.cards["instructions"]}
    tables = [_card(title, blocks[name]) for name, title in CARDS.items() if blocks.get(name)]
    return [*tables, *_sets(inputs, source)]


def _card(title: str, card: dict[str, Any]) -> Table:
    """What was read, what was dropped and why, what was kept and for what."""
    counted = card.get("documents") or card.get("rows") or {}
    unit = "documents" if "documents" in card else "rows"
    read = counted.get("read")
    dropped = card.get("dropped") or {}
    seen = {reason: number for reason, number in dropped.items() if number}
    rows = [_row("read", read, None)]
    rows += [_row(f"dropped: {_words(reason)}", number, read) for reason, number in seen.items()]
    rows += [_row(_words(name), counted[name], read) for name in counted if name != "read"]
    never = [_words(reason) for reason, number in dropped.items() if not number]
    notes = []
    tokens = card.get("tokens")
    total = tokens.get("kept") if isinstance(tokens, dict) else tokens
    if total is not None:
        learned = card.get("answer_tokens")
        answers = "" if learned is None else f", {format.count(learned)} of them in answers"
        fertility = said(", {:.2f} tokens a word", card.get("fertility"))
        notes.append(f"{format.count(total)} tokens kept{answers}{fertility}.")
    if never:
        notes.append(f"No {unit} dropped as: {', '.join(never)}.")
    return Table(title, ["", unit, "share, %"], rows, notes)


def _row(name: str, number: int | None, read: int | None) -> list[Cell]:
    share = format.percent(number / read, digits=2) if number is not None and read else ""
    return [Cell(name), cell(format.count(number)), Cell(share)]


def _words(key: str) -> str:
    return {"heldout": "held out"}.get(key, key.replace("_", " "))


def _sets(inputs: Inputs, source: str) -> list[Table]:
    """Which rows each task was scored on; a set that only has a task's schema is a stand-in.

    findable: the rows that would be found in a training text, if they stood there.
    """
    kinds = {"hub": "published set", "local": "local file", "sample": "generated"}
    rows = []
    for name, one in (inputs.measured("sets") or {}).items():
        kind = "stand-in" if one.get("stand_in") else kinds[source]
        kind = "own task" if one.get("own") else kind
        origin, digest = one.get("origin") or "", one.get("digest") or ""
        dropped = one.get("dropped")
        lost = sum(dropped.values()) if isinstance(dropped, dict) else dropped
        numbers = [cell(format.count(n)) for n in (one.get("rows"), lost, one.get("findable"))]
        rows.append(
            [Cell(task_name(name)), Cell(kind), *numbers, Cell(str(origin)), Cell(digest[:12])]
        )
    missing = inputs.measured("missing_sets") or []
    notes = [f"Left out, as the source has no such set: {', '.join(missing)}."] if missing else []
    columns = ["task", "kind", "rows", "dropped", "findable", "origin", "digest"]
    return [Table("Evaluation sets", columns, rows, notes)] if rows or missing else []
