"""How often the stage `corpus` decides as a reader did who labeled rows without seeing its fates.

    python -m benchmarks.agreement data/corpus [--json]

`labels.csv` names rows of the folder that DIFFUTRON_DATA pointed to, by file and line, and holds
none of their text. Copies and drawn quotas cannot be judged by reading one row: such a row counts
as kept.
"""

import argparse
import csv
import json
from pathlib import Path

import pyarrow.parquet as pq

LABELS = Path(__file__).with_name("labels.csv")
NOT_READ = {"duplicate": "kept", "quota": "kept", "": "kept"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", type=Path, help="a folder that the stage wrote")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    columns = ["file", "line", "reason", "rule"]
    rows = pq.read_table(options.corpus / "fates.parquet", columns=columns).to_pylist()
    fates = {(row["file"], row["line"]): row for row in rows}
    with LABELS.open(encoding="utf-8") as stream:
        labels = list(csv.DictReader(stream))
    others = []
    for label in labels:
        fate = fates[label["file"], int(label["line"])]
        found = NOT_READ.get(fate["reason"], fate["reason"])
        if found != label["label"]:
            others.append({**label, "found": found, "rule": fate["rule"]})
    share = 1 - len(others) / len(labels)
    said = {"rows": len(labels), "agreement": round(share, 4), "others": others}
    print(json.dumps(said, ensure_ascii=False) if options.json else _text(said))


def _text(said: dict) -> str:
    lines = [f"{said['agreement']:.1%} of {said['rows']} rows"]
    lines += [
        f"{one['file']} line {one['line']}: read as {one['label']}, found {one['found']}"
        for one in said["others"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
