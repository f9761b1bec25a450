"""Time, memory and losses of the stage `corpus` on text in which it is known what must be found.

    DIFFUTRON_DATA=... python -m benchmarks.corpus --documents 20000 --json

The stage runs as a user runs it, in a process of its own; its peak memory is the largest sum over
it and all its helpers. What it did is read from the folder that it leaves.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # also as `benchmarks/corpus.py`

from benchmarks.parts.haystack import Place, Text  # noqa: E402
from benchmarks.parts.pairs import jaccard_of, most_alike  # noqa: E402
from benchmarks.parts.planted import PLACEHOLDER, Plant  # noqa: E402
from benchmarks.parts.stage_run import command, make_tokenizer, measured, write_params  # noqa: E402

QUOTA = 0.6  # of the documents, from a group that has two thirds of them


def main() -> None:
    options = read_options()
    data = Path(os.environ.get("DIFFUTRON_DATA", ""))
    if not (data / "corpus").is_dir():
        raise SystemExit("set DIFFUTRON_DATA to a folder with corpus/, cetvel/ and lang/")
    work = Path(tempfile.mkdtemp(prefix="corpus-", dir=options.work))
    try:
        text = Text(data, options.documents, work / "data")
        tokenizer = options.tokenizer or make_tokenizer(work, data)
        measured = run_stage(work, tokenizer, options)
        found = {**measured, **judge(text, work / "out")}
        found = {"documents": text.written, **found}
    finally:
        if not options.keep:
            shutil.rmtree(work)
    if options.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        for name, value in found.items():
            print(f"{name}: {value}")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    parser.add_argument("--workers", type=int, help="processes; all cores without it")
    parser.add_argument("--executor", default="local", choices=("local", "ray", "slurm"))
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer folder; else one is trained")
    parser.add_argument("--threshold", type=float, default=0.65, help="Jaccard value of a copy")
    parser.add_argument("--work", type=Path, help="folder for the files; a temporary one else")
    parser.add_argument("--keep", action="store_true", help="leave the files where they are")
    return parser.parse_args()


def run_stage(work: Path, tokenizer: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds, documents a second and the peak of the memory of all processes together."""
    data, params, metrics = work / "data", work / "params.yaml", work / "corpus.json"
    changes = {
        "corpus.near_duplicate.threshold": options.threshold,
        "corpus.quotas.karma": int(QUOTA * options.documents),
        "instructions.source": "sample",
    }
    write_params(params, data, changes)
    paths = ["--params", params, "--tokenizer", tokenizer, "--out", work / "out"]
    paths += ["--metrics", metrics, "--executor", options.executor]
    paths += ["--workers", options.workers] if options.workers else []
    cost = measured(command("corpus", *map(str, paths), data=data))
    counts = json.loads(metrics.read_text(encoding="utf-8"))
    return {
        "docs_per_s": round(counts["documents"]["read"] / cost.seconds, 1),
        **cost.shown,
        "peak_rss_joins_gb": round(cost.peak_alone / 1e9, 3),  # when the helpers have ended
        "workers": options.workers or len(os.sched_getaffinity(0)),
        "kept": counts["documents"]["kept"],
        "reasons": counts["dropped"],
        "personal_data": counts["personal_data"],
    }


def judge(text: Text, out: Path) -> dict[str, Any]:
    """Planted and found by kind, and what was dropped without cause."""
    fates = read_fates(out)
    published = published_texts(out, fates, {p for p, plant in text.plants.items() if plant.secret})
    planted: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for place, plant in text.plants.items():
        verdict = is_found(plant, fates[place], text, fates, published.get(place))
        if verdict is not None:
            planted[plant.kind] += 1
            found[plant.kind] += verdict
    top = most_alike(text.sample)
    return {
        "planted": dict(sorted(planted.items())),
        "found": {kind: found[kind] for kind in sorted(planted)},
        "wrongly_removed": wrongly_removed(text, fates),
        "unplanted_max_jaccard": round(top, 4),
    }


Fate = dict[str, Any]


def read_fates(out: Path) -> dict[Place, Fate]:
    rows = pq.read_table(out / "fates.parquet").to_pylist()
    return {(row["file"], row["line"]): row for row in rows}


def published_texts(out: Path, fates: dict[Place, Fate], wanted: set[Place]) -> dict[Place, str]:
    """The texts of these places; rows of a split stand in the order of `fates.parquet`."""
    found = {}
    for split in ("train", "heldout"):
        places = (place for place, fate in fates.items() if fate["split"] == split)
        texts = pq.ParquetFile(out / f"{split}.parquet").iter_batches(5000, columns=["text"])
        for place, text in zip(places, (t for b in texts for t in b["text"]), strict=True):
            if place in wanted:
                found[place] = text.as_py()
    return found


def is_found(
    plant: Plant, fate: Fate, text: Text, fates: dict[Place, Fate], published: str | None
) -> bool | None:
    """Whether the step meant for a plant caught it; None where another step took it before."""
    if plant.secret:
        if published is None:
            return None
        return plant.secret not in published and PLACEHOLDER[plant.kind] in published
    if plant.kind.startswith("exam"):
        return {"contaminated": True, "": False, "quota": False}.get(fate["reason"])
    if plant.kind == "language":
        return fate["reason"] == "language"
    pair = [fate["reason"], fates[text.originals[plant.original]]["reason"]]
    if not set(pair) <= {"", "duplicate", "contaminated", "quota"}:
        return None
    return "duplicate" in pair


def wrongly_removed(text: Text, fates: dict[Place, Fate]) -> dict[str, int]:
    """Documents dropped as copies that are below a Jaccard value of 0.5 with the one kept in their
    stead, and clean documents dropped for an evaluation item."""
    wrong: dict[str, int] = defaultdict(int, duplicate=0, contaminated=0, language=0)
    unknown = 0
    for place, fate in fates.items():
        planted = text.plants.get(place)
        if fate["reason"] == "duplicate":
            other = (fate["instead_file"], fate["instead_line"])
            if place in text.texts and other in text.texts:
                wrong["duplicate"] += jaccard_of(text.texts[place], text.texts[other]) < 0.5
            else:
                unknown += 1
        elif fate["reason"] in ("contaminated", "language"):
            kind = planted.kind if planted else ""
            wrong[fate["reason"]] += not kind.startswith(("exam", "language"))
    # A pair of which one was planted by nobody: its texts are not at hand, so it counts as wrong.
    wrong["duplicate"] += unknown
    return dict(wrong)


if __name__ == "__main__":
    main()
