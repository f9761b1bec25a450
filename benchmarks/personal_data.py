"""Rules for personal data beside libraries, on the spellings of the tests and on drawn ones.

    python -m venv ENV && ENV/bin/pip install presidio-analyzer==2.2.366 kvkk==0.1.2 \
        kvkk-pii==0.2.0 telveguard-core==0.4.0 phonenumbers==9.0.43 python-stdnum==2.2 \
        pydantic-settings structlog && ENV/bin/pip install --no-deps hushmark-core==0.1.1
    ENV/bin/python -m benchmarks.personal_data --json

A value is found where every letter and digit of it is inside what is marked, under whatever name.
A row that only looks like personal data is an alarm where anything in it is marked. Each is asked
for the kinds that are promised, and for licence plates apart. Drawn are the groups in which a
number stands, and figures of other kinds. Time is that of the processor.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any

from benchmarks.parts.drawn_numbers import harmless, spellings
from benchmarks.parts.personal_data_libraries import LIBRARIES, Find, Library
from diffutron.runtime.tables import markdown_table
from diffutron.text.privacy import KINDS, PLATE
from tests.support.personal_data import AROUND, HARMLESS, NO_PLATES, PLATES, UNUSUAL, USUAL, spot

REPEATS = 5
SEED, EACH, OTHERS = 47, 100, 3000  # drawn numbers of each kind, and other figures


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=REPEATS, help="timed passes over all rows")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    given = parser.parse_args(arguments)
    if given.repeats < 1:
        parser.error(f"--repeats {given.repeats}: at least 1")
    said = {
        "libraries": [measure(one, given.repeats) for one in LIBRARIES if not one.missing],
        "seed": SEED,
        "not_installed": {one.name: one.missing for one in LIBRARIES if one.missing},
    }
    print(json.dumps(said, ensure_ascii=False) if given.json else as_text(said))


def measure(library: Library, repeats: int) -> dict[str, Any]:
    """Of each table: rows, and how many were found or marked wrongly; what was missed, in full."""
    find = library.load(library.names(KINDS))
    numbers = Random(SEED)
    drawn, others = spellings(numbers, EACH), harmless(numbers, OTHERS)
    said = {
        "library": library.name,
        "version": library.versions,
        "license": library.licenses,
        "unknown": [kind for kind in (*KINDS, PLATE) if not library.names([kind])],
        **{
            name: {kind: counts(find, rows) for kind, rows in table.items()}
            for name, table in (("unusual", UNUSUAL), ("usual", USUAL), ("drawn", drawn))
        },
        "missed": [row for rows in UNUSUAL.values() for row in missed(find, rows)],
        "alarms": alarms(find, HARMLESS),
        "harmless": len(HARMLESS),
        "drawn_alarms": {"rows": len(others), "marked": len(alarms(find, others))},
        "rows_per_second": speed(find, repeats),
    }
    if plates := library.names([PLATE]):
        find = library.load(plates)
        said["plates"] = counts(find, PLATES)
        said["plate_alarms"], said["no_plates"] = alarms(find, NO_PLATES), len(NO_PLATES)
    return said


def counts(find: Find, rows: Sequence[str]) -> dict[str, int]:
    return {"rows": len(rows), "found": len(rows) - len(missed(find, rows))}


def missed(find: Find, rows: Sequence[str]) -> list[str]:
    """The rows whose value is not marked as a whole."""
    gone: list[str] = []
    for row in rows:
        text, start, end = spot(AROUND.format(row))
        marked = {place for first, last in find(text) for place in range(first, last)}
        if any(text[place].isalnum() and place not in marked for place in range(start, end)):
            gone.append(row)
    return gone


def alarms(find: Find, texts: Sequence[str]) -> list[str]:
    return [text for text in texts if find(text)]


def speed(find: Find, repeats: int) -> int:
    """Rows of all tables a second of the processor, by the median of the passes."""
    rows = [row for table in (UNUSUAL, USUAL) for rows in table.values() for row in rows]
    texts = [*(spot(AROUND.format(row))[0] for row in rows), *HARMLESS]
    seconds: list[float] = []
    for _ in range(repeats):
        started = time.process_time()
        for text in texts:
            find(text)
        seconds.append(time.process_time() - started)
    return round(len(texts) / statistics.median(seconds))


def share(counted: Mapping[str, dict[str, int]], unknown: Sequence[str] = ()) -> str:
    """Found of all rows, but for those of the kinds that a library does not know."""
    known = [numbers for kind, numbers in counted.items() if kind not in unknown]
    found, rows = sum(one["found"] for one in known), sum(one["rows"] for one in known)
    return f"{part(found, rows)} ({found / rows:.0%})"


def as_text(said: dict[str, Any]) -> str:
    """What is found, by kind too, and what is marked wrongly; then what is not installed."""
    rows, tables = said["libraries"], ("unusual", "drawn", "usual")
    head = [cell for name in tables for cell in (name, "of its kinds")]
    whole = markdown_table(
        ("library", "version", "license", *head),
        [
            (
                *(one[key] for key in ("library", "version", "license")),
                *(share(one[name], no) for name in tables for no in ((), one["unknown"])),
            )
            for one in rows
        ],
    )
    wrong = markdown_table(
        ("library", "look-alikes marked", "drawn ones", "no plates", "rows/s"),
        [
            (
                one["library"],
                part(len(one["alarms"]), one["harmless"]),
                part(one["drawn_alarms"]["marked"], one["drawn_alarms"]["rows"]),
                part(len(one["plate_alarms"]), one["no_plates"]) if "plates" in one else "unknown",
                one["rows_per_second"],
            )
            for one in rows
        ],
    )
    absent = [
        f"{name}: not installed ({', '.join(modules)})"
        for name, modules in said["not_installed"].items()
    ]
    by = [by_kind("unusual", rows, (*KINDS, PLATE)), by_kind("drawn", rows, rows[0]["drawn"])]
    return "\n\n".join(filter(None, (whole, wrong, *by, "\n".join(absent))))


def by_kind(table: str, rows: Sequence[dict[str, Any]], kinds: Iterable[str]) -> str:
    kinds = list(kinds)

    def cell(one: dict[str, Any], kind: str) -> str:
        if kind in one["unknown"]:
            return "unknown"
        counted = one["plates"] if kind == PLATE else one[table][kind]
        return part(counted["found"], counted["rows"])

    cells = [(one["library"], *(cell(one, kind) for kind in kinds)) for one in rows]
    return markdown_table((table, *kinds), cells)


def part(some: int, many: int) -> str:
    return f"{some} of {many}"


if __name__ == "__main__":
    main()
