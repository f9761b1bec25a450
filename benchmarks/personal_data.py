"""Rules for personal data beside libraries, on the tables of spellings of the tests.

    python -m venv ENV && ENV/bin/pip install presidio-analyzer==2.2.366 kvkk==0.1.2 \
        kvkk-pii==0.2.0 telveguard-core==0.4.0 phonenumbers==9.0.43 python-stdnum==2.2 \
        pydantic-settings structlog && ENV/bin/pip install --no-deps hushmark-core==0.1.1
    ENV/bin/python -m benchmarks.personal_data --json

A value is found where every letter and digit of it is inside what is marked, under whatever name.
A row that only looks like personal data is an alarm where anything in it is marked. Each is asked
for the kinds that are promised, and for licence plates apart. Time is that of the processor.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.parts.personal_data_libraries import LIBRARIES, Find, Library
from diffutron.runtime.tables import markdown_table
from diffutron.text.privacy import KINDS, PLATE
from tests.support.personal_data import AROUND, HARMLESS, NO_PLATES, PLATES, UNUSUAL, USUAL, spot

REPEATS = 5


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=REPEATS, help="timed passes over all rows")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    given = parser.parse_args(arguments)
    if given.repeats < 1:
        parser.error(f"--repeats {given.repeats}: at least 1")
    said = {
        "libraries": [measure(one, given.repeats) for one in LIBRARIES if not one.missing],
        "not_installed": {one.name: one.missing for one in LIBRARIES if one.missing},
    }
    print(json.dumps(said, ensure_ascii=False) if given.json else as_text(said))


def measure(library: Library, repeats: int) -> dict[str, Any]:
    """Of each table: rows, and how many were found or marked wrongly; what was missed, in full."""
    find = library.load(library.names(KINDS))
    found = {kind: missed(find, rows) for kind, rows in UNUSUAL.items()}
    said = {
        "library": library.name,
        "version": library.versions(),
        "license": library.licenses(),
        "unknown": [kind for kind in (*KINDS, PLATE) if not library.names([kind])],
        "unusual": {kind: counts(UNUSUAL[kind], gone) for kind, gone in found.items()},
        "usual": {kind: counts(rows, missed(find, rows)) for kind, rows in USUAL.items()},
        "missed": [row for rows in found.values() for row in rows],
        "alarms": alarms(find, HARMLESS),
        "harmless": len(HARMLESS),
        "rows_per_second": speed(find, repeats),
    }
    if plates := library.names([PLATE]):
        find = library.load(plates)
        said["plates"] = counts(PLATES, missed(find, PLATES))
        said["plate_alarms"], said["no_plates"] = alarms(find, NO_PLATES), len(NO_PLATES)
    return said


def counts(rows: Sequence[str], gone: Sequence[str]) -> dict[str, int]:
    return {"rows": len(rows), "found": len(rows) - len(gone)}


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


def share(counted: dict[str, dict[str, int]], unknown: Sequence[str] = ()) -> str:
    """Found of all rows, but for those of the kinds that a library does not know."""
    known = [numbers for kind, numbers in counted.items() if kind not in unknown]
    found, rows = sum(one["found"] for one in known), sum(one["rows"] for one in known)
    return f"{found} of {rows} ({found / rows:.0%})"


def as_text(said: dict[str, Any]) -> str:
    """The tables, and a line for each library that is not there."""
    rows = said["libraries"]
    whole = [
        (
            one["library"],
            one["version"],
            one["license"],
            share(one["unusual"]),
            share(one["unusual"], one["unknown"]),
            share(one["usual"]),
            share(one["usual"], one["unknown"]),
            f"{len(one['alarms'])} of {one['harmless']}",
            one["rows_per_second"],
        )
        for one in rows
    ]
    head = ("library", "version", "license", "unusual", "of its kinds", "usual", "of its kinds")
    kinds = [(one["library"], *by_kind(one)) for one in rows]
    absent = [
        f"{name}: not installed ({', '.join(modules)})"
        for name, modules in said["not_installed"].items()
    ]
    first = markdown_table((*head, "alarms", "rows/s"), whole)
    second = markdown_table(("unusual", *KINDS, PLATE, "no plate, marked"), kinds)
    return "\n\n".join(filter(None, (first, second, "\n".join(absent))))


def by_kind(one: dict[str, Any]) -> list[str]:
    cells = [
        "unknown" if kind in one["unknown"] else f"{numbers['found']} of {numbers['rows']}"
        for kind, numbers in ((kind, one["unusual"][kind]) for kind in KINDS)
    ]
    if PLATE in one["unknown"]:
        return [*cells, "unknown", ""]
    plates = one["plates"]
    marked = f"{len(one['plate_alarms'])} of {one['no_plates']}"
    return [*cells, f"{plates['found']} of {plates['rows']}", marked]


if __name__ == "__main__":
    main()
