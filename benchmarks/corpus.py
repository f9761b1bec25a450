"""Time, memory and losses of the stage `corpus` on text in which it is known what must be found.

    DIFFUTRON_DATA=... python -m benchmarks.corpus --documents 20000 --json

The stage runs as a user runs it, in a process of its own; its peak memory is the largest sum over
it and all its helpers. What it did is read from the folder that it leaves.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # also as `benchmarks/corpus.py`

from benchmarks.parts.haystack import Place, Text  # noqa: E402
from benchmarks.parts.pairs import jaccard_of, most_alike  # noqa: E402
from benchmarks.parts.planted import PLACEHOLDER, Plant  # noqa: E402

QUOTA = 0.6  # of the documents, from a group that has two thirds of them
ALONE = 2  # processes of the stage without helpers: itself and what multiprocessing leaves behind


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


def command(*arguments: str, data: Path, capture: bool = False) -> subprocess.Popen[bytes]:
    """`diffutron` with that data folder, its progress on standard error."""
    environment = os.environ | {"DIFFUTRON_DATA": str(data)}
    line = [sys.executable, "-m", "diffutron", *arguments]
    root = Path(__file__).resolve().parent.parent
    return subprocess.Popen(line, env=environment, cwd=root, stdout=sys.stderr)


def finish(process: subprocess.Popen[bytes]) -> None:
    if process.wait():
        raise SystemExit(f"{' '.join(map(str, process.args))} ended with {process.returncode}")


def make_tokenizer(work: Path, data: Path) -> Path:
    """A scratch vocabulary of the size of profile `small`, on the real text."""
    write_params(work / "tokenizer.yaml", data, {"tokenizer.max_documents": 40_000})
    out = work / "tokenizer"
    paths = ["--params", work / "tokenizer.yaml", "--out", out, "--metrics", work / "t.json"]
    finish(command("tokenizer", *map(str, paths), data=data))
    return out


def write_params(path: Path, data: Path, changes: dict[str, Any]) -> None:
    said = [word for key, value in changes.items() for word in ("-S", f"{key}={value}")]
    finish(command("params", "--profile", "small", "--out", str(path), *said, data=data))


def run_stage(work: Path, tokenizer: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds, documents a second and the peak of the memory of all processes together."""
    data, params, metrics = work / "data", work / "params.yaml", work / "corpus.json"
    changes = {
        "corpus.near_duplicate.threshold": options.threshold,
        "+corpus.quotas.karma": int(QUOTA * options.documents),
        "instructions.source": "sample",
    }
    write_params(params, data, changes)
    paths = ["--params", params, "--tokenizer", tokenizer, "--out", work / "out"]
    paths += ["--metrics", metrics, "--executor", options.executor]
    paths += ["--workers", options.workers] if options.workers else []
    started, before = time.perf_counter(), cpu_seconds()
    process = command("corpus", *map(str, paths), data=data)
    peak = joins = 0
    while process.poll() is None:
        memory, processes = tree_memory(process.pid)
        peak = max(peak, memory)
        joins = max(joins, memory) if processes <= ALONE else joins
        time.sleep(0.1)
    finish(process)
    seconds = time.perf_counter() - started
    counts = json.loads(metrics.read_text(encoding="utf-8"))
    return {
        "docs_per_s": round(counts["documents"]["read"] / seconds, 1),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds() - before, 1),
        "peak_rss_gb": round(peak / 1e9, 3),
        "peak_rss_joins_gb": round(joins / 1e9, 3),  # when the helpers have ended
        "workers": options.workers or len(os.sched_getaffinity(0)),
        "kept": counts["documents"]["kept"],
        "reasons": counts["dropped"],
        "personal_data": counts["personal_data"],
    }


def cpu_seconds() -> float:
    """Of all ended child processes and theirs: what the run cost, whoever else used the cores."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def tree_memory(pid: int) -> tuple[int, int]:
    """Resident bytes of a process and all its descendants, and how many they are."""
    total = processes = 0
    try:
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            try:
                total += process.memory_info().rss
                processes += 1
            except psutil.Error:
                continue
    except psutil.Error:
        return total, processes
    return total, processes


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
