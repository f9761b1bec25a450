"""A folder with two small tasks of somebody's own: multiple choice with clusters, minimal pairs."""

import json
from pathlib import Path

CHOICE = """
task: soru_bankasi
dataset_path: json
dataset_kwargs: {data_files: {test: s.jsonl}}
doc_to_text: "Soru: {{soru}}"
doc_to_choice: ["{{a}}", "{{b}}", "{{c}}"]
doc_to_target: dogru
metadata: {cluster: konu, normalization: bytes}
"""
PAIRS = """
task: ciftler
dataset_path: json
dataset_kwargs: {data_files: {test: c.jsonl}}
doc_to_choice: ["{{iyi}}", "{{kotu}}"]
metadata: {kind: minimal_pairs}
"""
NAMES = ["Kedi", "Köpek", "Kuş", "Balık"]


def write_own_tasks(folder: Path) -> Path:
    """Write `soru_bankasi` and `ciftler`, of 30 rows each; gives the folder back."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soru.yaml").write_text(CHOICE, "utf-8")
    (folder / "cift.yaml").write_text(PAIRS, "utf-8")
    rows = [
        {"soru": f"Kim {n}?", "a": NAMES[n % 4], "b": "Ev", "c": "Ağaç", "dogru": n % 3}
        | {"konu": "ab"[n % 2]}
        for n in range(30)
    ]
    pairs = [{"iyi": f"{NAMES[n % 4]} uyudu {n}.", "kotu": f"Uyudu {n}."} for n in range(30)]
    for name, some in (("s", rows), ("c", pairs)):
        text = "".join(json.dumps(row) + "\n" for row in some)
        (folder / f"{name}.jsonl").write_text(text, "utf-8")
    return folder
