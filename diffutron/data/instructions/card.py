"""The data card of the instruction sets, and the counts of the stage."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffutron.data.card_page import (
    DROPPED_EXAMPLES,
    KEPT_EXAMPLES,
    Bars,
    Examples,
    Flow,
    Rows,
    Section,
    Words,
    cleaned_of_text,
    excerpt,
    histogram,
    page,
    reasons_text,
    repaired_table,
    search_sections,
)
from diffutron.data.instructions.row_table import RowTable
from diffutron.data.instructions.steps import REASONS, SPLITS
from diffutron.data.sources.bad_rows import BadRows
from diffutron.runtime.files import write_json, write_text
from diffutron.text.normalize import REPAIRS, repaired
from diffutron.text.privacy import by_kind

FATE = "case when reason = '' then split else reason end"


def count_instructions(
    table: RowTable,
    bad_rows: Mapping[int, BadRows],
    edited: Mapping[int, Counter[str]],
    *,
    plates: bool,
) -> dict[str, dict[str, Any]]:
    """The counts of the instructions stage as plain JSON, one entry per phase."""
    found = {}
    for phase, bad in bad_rows.items():
        dropped = table.counts("reason", where=f"phase = {phase}")
        kept, dropped["bad_line"] = dropped.get("", 0), bad.bad
        splits = table.counts("split", where=f"phase = {phase} and reason = ''")
        ((tokens, asked),) = table.db.rows(
            "select coalesce(sum(answer_end), 0), coalesce(sum(answer_start), 0) from rows "
            "where phase = ? and reason = ''",
            [phase],
        )
        found[f"phase{phase}"] = {
            "rows": {
                "read": bad.read,
                "kept": kept,
                **{name: splits.get(name, 0) for name in SPLITS},
            },
            "dropped": {reason: dropped.get(reason, 0) for reason in REASONS},
            "tokens": int(tokens),
            "answer_tokens": int(tokens - asked),
            "personal_data": by_kind(edited[phase], plates=plates),
            "repaired": {kind: edited[phase][repaired(kind)] for kind in REPAIRS},
        }
    return found


def write_instructions_card(
    table: RowTable,
    counts: Mapping[str, Any],
    bad_rows: Mapping[int, BadRows],
    cleaned_of: Sequence[str],
    searched: Mapping[str, Any],
    out: Path,
) -> None:
    """`card.json`, `card.html` and the bad lines of an instructions folder."""
    found: dict[str, Any] = {"cleaned_of": list(cleaned_of), **searched}
    sections: list[Section] = [Words(cleaned_of_text(cleaned_of)), *search_sections(searched)]
    for phase, bad in bad_rows.items():
        lengths = table.counts("answer_end", where=f"phase = {phase} and reason = ''")
        entry = {
            **counts[f"phase{phase}"],
            "bad_lines": bad.examples,
            "by_source": _rows_by_source(table, phase),
            "token_histogram": histogram(Counter(lengths)),
            "examples": _row_examples(table, phase),
        }
        found[f"phase{phase}"] = entry
        sections += _phase_sections(phase, entry)
        bad.write(out / f"phase{phase}_bad_lines.jsonl")
    write_json(out / "card.json", found)
    write_text(out / "card.html", page("Instructions", sections))


def _rows_by_source(table: RowTable, phase: int) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for (source, fate), n in table.counts("source", FATE, where=f"phase = {phase}").items():
        found.setdefault(source, {})[fate] = n
    order = (*SPLITS, *REASONS)
    return {
        source: {name: counts[name] for name in order if name in counts}
        for source, counts in sorted(found.items())
    }


def _row_examples(table: RowTable, phase: int) -> dict[str, list[dict[str, str]]]:
    """Some rows of each fate, drawn by their ids."""
    rows = table.db.rows(
        """
        select rows.reason, source, prompt, answer from rows join (
            select index, row_number() over (
                partition by reason order by sha256(? || ':' || id), index
            ) as place
            from rows where phase = ?
        ) as drawn using (index)
        where place <= case when rows.reason = '' then ? else ? end order by place
        """,
        [str(table.seed), phase, KEPT_EXAMPLES, DROPPED_EXAMPLES],
    )
    found: dict[str, list[dict[str, str]]] = {}
    for reason, source, prompt, answer in rows:
        text = excerpt(f"{prompt} -> {answer}")
        found.setdefault(reason or "kept", []).append({"source": source, "text": text})
    return {name: found[name] for name in ("kept", *REASONS) if name in found}


def _phase_sections(phase: int, entry: Mapping[str, Any]) -> list[Section]:
    rows, examples = entry["rows"], entry["examples"].items()
    personal = entry["personal_data"].items()
    said = (
        f"{rows['kept']} of {rows['read']} rows kept: {rows['train']} for training, "
        f"{rows['heldout']} held out; {entry['answer_tokens']} of {entry['tokens']} tokens are "
        "answers."
    )
    sources = [
        [
            source,
            counts.get("train", 0),
            counts.get("heldout", 0),
            reasons_text(counts, besides=SPLITS),
        ]
        for source, counts in entry["by_source"].items()
    ]
    return [
        Words(said, title=f"Phase {phase}"),
        Flow(f"Phase {phase}: what each step dropped", rows["kept"], entry["dropped"]),
        Rows(f"Phase {phase}: by source", ["source", "train", "held out", "dropped"], sources),
        Bars(f"Phase {phase}: tokens of a kept row", entry["token_histogram"], "tokens from"),
        Rows(f"Phase {phase}: personal data replaced", ["kind", "found"], personal),
        repaired_table(entry["repaired"], "rows", f"Phase {phase}: repaired text"),
        *(Examples(f"Phase {phase}, examples: {name}", found) for name, found in examples),
    ]
