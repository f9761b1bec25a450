"""The data card of the instruction sets, and the counts of the stage."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffutron.data.corpus.card import (
    DROPPED_EXAMPLES,
    KEPT_EXAMPLES,
    excerpt,
    histogram,
    reasons_text,
    table,
)
from diffutron.data.corpus.card_page import Bars, Examples, Flow, Rows, Section, Words, page
from diffutron.data.instructions.steps import REASONS, SPLITS, Row
from diffutron.data.sources.bad_rows import Quarantine
from diffutron.runtime.files import write_json, write_text


def count_instructions(
    rows: Sequence[Row], quarantines: Mapping[int, Quarantine]
) -> dict[str, Any]:
    """The counts of the instructions stage as plain JSON, one entry a phase."""
    return {
        f"phase{phase}": _count_phase([row for row in rows if row.phase == phase], quarantine)
        for phase, quarantine in quarantines.items()
    }


def _count_phase(rows: Sequence[Row], quarantine: Quarantine) -> dict[str, Any]:
    dropped = Counter(row.reason for row in rows if row.reason)
    dropped["bad_line"] = quarantine.bad
    kept = [row for row in rows if not row.reason]
    tokens = sum(len(row.input_ids) for row in kept)
    return {
        "rows": {
            "read": quarantine.read,
            "kept": len(kept),
            **{name: sum(1 for row in kept if row.split == name) for name in SPLITS},
        },
        "dropped": {reason: dropped[reason] for reason in REASONS},
        "tokens": tokens,
        "answer_tokens": tokens - sum(row.answer_start for row in kept),
    }


def write_instructions_card(
    rows: Sequence[Row],
    counts: Mapping[str, Any],
    quarantines: Mapping[int, Quarantine],
    out: Path,
    *,
    seed: int,
) -> None:
    """`card.json`, `card.md`, `card.html` and the bad lines of an instructions folder."""
    found: dict[str, Any] = {}
    sections: list[Section] = []
    lines = ["# Instructions"]
    for phase, quarantine in quarantines.items():
        mine = [row for row in rows if row.phase == phase]
        entry = {
            **counts[f"phase{phase}"],
            "bad_lines": quarantine.examples,
            "by_source": _rows_by_source(mine),
            "token_histogram": histogram(Counter(len(row.input_ids) for row in mine if row.split)),
            "examples": _row_examples(mine, seed=seed),
        }
        found[f"phase{phase}"] = entry
        lines += _phase_markdown(phase, entry)
        sections += _phase_sections(phase, entry)
        quarantine.write(out / f"phase{phase}_bad_lines.jsonl")
    write_json(out / "card.json", found)
    write_text(out / "card.md", "\n".join(lines) + "\n")
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


SOURCE_HEAD = ["source", "train", "held out", "dropped"]


def _source_rows(entry: Mapping[str, Any]) -> list[list[Any]]:
    return [
        [
            source,
            counts.get("train", 0),
            counts.get("heldout", 0),
            reasons_text({k: v for k, v in counts.items() if k not in SPLITS}),
        ]
        for source, counts in entry["by_source"].items()
    ]


def _said(entry: Mapping[str, Any]) -> str:
    rows = entry["rows"]
    return (
        f"{rows['kept']} of {rows['read']} rows kept: {rows['train']} for training, "
        f"{rows['heldout']} held out; {entry['answer_tokens']} of {entry['tokens']} tokens are "
        "answers."
    )


def _phase_sections(phase: int, entry: Mapping[str, Any]) -> list[Section]:
    examples = entry["examples"].items()
    return [
        Words(_said(entry), title=f"Phase {phase}"),
        Flow(f"Phase {phase}: what each step dropped", entry["rows"]["kept"], entry["dropped"]),
        Rows(f"Phase {phase}: by source", SOURCE_HEAD, _source_rows(entry)),
        Bars(f"Phase {phase}: tokens of a kept row", entry["token_histogram"], "tokens from"),
        *(Examples(f"Phase {phase}, examples: {name}", rows) for name, rows in examples),
    ]


def _phase_markdown(phase: int, entry: Mapping[str, Any]) -> list[str]:
    lines = [
        "",
        f"## Phase {phase}",
        "",
        _said(entry),
        "",
        *table(["reason", "rows"], entry["dropped"].items()),
        "",
        *table(SOURCE_HEAD, _source_rows(entry)),
        "",
        *table(["tokens from", "rows"], entry["token_histogram"].items()),
    ]
    for name, examples in entry["examples"].items():
        lines += ["", f"### Examples: {name}", ""]
        lines += [f"- {excerpt(example)}" for example in examples]
    return lines
