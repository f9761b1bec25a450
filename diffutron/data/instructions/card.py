"""The data card of the instruction sets, and the counts of the stage."""

import hashlib
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
    histogram,
    page,
    reasons_text,
    repaired_table,
    search_sections,
)
from diffutron.data.instructions.steps import REASONS, SPLITS, Row
from diffutron.data.sources.bad_rows import BadRows
from diffutron.runtime.files import write_json, write_text
from diffutron.text.normalize import REPAIRS, repaired
from diffutron.text.privacy import by_kind


def count_instructions(
    rows: Sequence[Row],
    bad_rows: Mapping[int, BadRows],
    edited: Mapping[int, Counter[str]],
    *,
    plates: bool,
) -> dict[str, dict[str, Any]]:
    """The counts of the instructions stage as plain JSON, one entry per phase."""
    found = {}
    for phase, bad in bad_rows.items():
        mine = [row for row in rows if row.phase == phase]
        kept = [row for row in mine if not row.reason]
        dropped = Counter(row.reason for row in mine if row.reason)
        dropped["bad_line"] = bad.bad
        tokens = sum(len(row.input_ids) for row in kept)
        found[f"phase{phase}"] = {
            "rows": {
                "read": bad.read,
                "kept": len(kept),
                **{name: sum(1 for row in kept if row.split == name) for name in SPLITS},
            },
            "dropped": {reason: dropped[reason] for reason in REASONS},
            "tokens": tokens,
            "answer_tokens": tokens - sum(row.answer_start for row in kept),
            "personal_data": by_kind(edited[phase], plates=plates),
            "repaired": {kind: edited[phase][repaired(kind)] for kind in REPAIRS},
        }
    return found


def write_instructions_card(
    rows: Sequence[Row],
    counts: Mapping[str, Any],
    bad_rows: Mapping[int, BadRows],
    cleaned_of: Sequence[str],
    searched: Mapping[str, Any],
    out: Path,
    *,
    seed: int,
) -> None:
    """`card.json`, `card.html` and the bad lines of an instructions folder."""
    found: dict[str, Any] = {"cleaned_of": list(cleaned_of), **searched}
    sections: list[Section] = [Words(cleaned_of_text(cleaned_of)), *search_sections(searched)]
    for phase, bad in bad_rows.items():
        mine = [row for row in rows if row.phase == phase]
        entry = {
            **counts[f"phase{phase}"],
            "bad_lines": bad.examples,
            "by_source": _rows_by_source(mine),
            "token_histogram": histogram(Counter(len(row.input_ids) for row in mine if row.split)),
            "examples": _row_examples(mine, seed=seed),
        }
        found[f"phase{phase}"] = entry
        sections += _phase_sections(phase, entry)
        bad.write(out / f"phase{phase}_bad_lines.jsonl")
    write_json(out / "card.json", found)
    write_text(out / "card.html", page("Instructions", sections))


def _rows_by_source(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for row in rows:
        found.setdefault(row.source, Counter())[row.reason or row.split] += 1
    order = (*SPLITS, *REASONS)
    return {
        source: {name: counts[name] for name in order if counts[name]}
        for source, counts in sorted(found.items())
    }


def _row_examples(rows: Sequence[Row], *, seed: int) -> dict[str, list[dict[str, str]]]:
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: hashlib.sha256(f"{seed}:{row.id}".encode()).digest()):
        groups.setdefault(row.reason or "kept", []).append(row)
    order = ("kept", *REASONS)
    return {
        name: [
            {"source": row.source, "text": f"{row.prompt} -> {row.answer}"}
            for row in groups[name][: KEPT_EXAMPLES if name == "kept" else DROPPED_EXAMPLES]
        ]
        for name in order
        if name in groups
    }


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
