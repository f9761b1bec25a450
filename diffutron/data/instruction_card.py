"""The data card of the instruction sets (JSON and Markdown), and the counts of the stage."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffutron.data.card import (
    DROPPED_EXAMPLES,
    KEPT_EXAMPLES,
    excerpt,
    histogram,
    reasons_text,
    table,
    write_bad_lines,
)
from diffutron.data.instruction_rows import REASONS, SPLITS, Row
from diffutron.data.sources import Quarantine
from diffutron.outputs import write_json, write_text


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
    dropped["bad_line"] = len(quarantine.bad)
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
    """`card.json`, `card.md` and the bad lines of an instructions folder."""
    found: dict[str, Any] = {}
    lines = ["# Instructions"]
    for phase, quarantine in quarantines.items():
        mine = [row for row in rows if row.phase == phase]
        entry = {
            **counts[f"phase{phase}"],
            "bad_lines": quarantine.report()["examples"],
            "by_source": _rows_by_source(mine),
            "token_histogram": histogram(np.array([len(r.input_ids) for r in mine if r.split])),
            "examples": _row_examples(mine, seed=seed),
        }
        found[f"phase{phase}"] = entry
        lines += _phase_markdown(phase, entry)
        write_bad_lines(quarantine, out, name=f"phase{phase}_bad_lines.jsonl")
    write_json(out / "card.json", found)
    write_text(out / "card.md", "\n".join(lines) + "\n")


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


def _phase_markdown(phase: int, entry: Mapping[str, Any]) -> list[str]:
    rows = entry["rows"]
    lines = [
        "",
        f"## Phase {phase}",
        "",
        f"{rows['kept']} of {rows['read']} rows kept: {rows['train']} for training, "
        f"{rows['heldout']} held out; {entry['answer_tokens']} of {entry['tokens']} tokens are "
        "answers.",
        "",
        *table(["reason", "rows"], entry["dropped"].items()),
        "",
        *table(
            ["source", "train", "held out", "dropped"],
            (
                [
                    source,
                    counts.get("train", 0),
                    counts.get("heldout", 0),
                    reasons_text({k: v for k, v in counts.items() if k not in SPLITS}),
                ]
                for source, counts in entry["by_source"].items()
            ),
        ),
        "",
        *table(["tokens from", "rows"], entry["token_histogram"].items()),
    ]
    for name, examples in entry["examples"].items():
        lines += ["", f"### Examples: {name}", ""]
        lines += [f"- {excerpt(example)}" for example in examples]
    return lines
