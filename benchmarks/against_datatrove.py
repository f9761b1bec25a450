"""The stage `corpus` beside datatrove's own steps for the same rules, on the same documents.

    python -m venv ENV && ENV/bin/pip install 'datatrove[io,processing]==0.10.0' spacy tokenizers
    DIFFUTRON_DATA=... python -m benchmarks.against_datatrove --python ENV/bin/python --json

One worker each, one after the other in turn, in processes of their own whose start counts. What
is compared is processor time: the cores may be shared. The stage does what datatrove's steps do
not (languages, evaluation items, publication) and that counts against it.
"""

import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard

from benchmarks.corpus import run_stage
from benchmarks.parts.haystack import Text
from benchmarks.parts.stage_run import cpu_seconds, make_tokenizer

CHAIN = Path(__file__).with_name("datatrove_chain.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--python", required=True, help="of the environment that has datatrove")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    parser.add_argument("--threshold", type=float, default=0.65, help="Jaccard value of a copy")
    options = parser.parse_args()
    options.workers, options.executor = 1, "local"
    data = Path(os.environ["DIFFUTRON_DATA"])
    work = Path(tempfile.mkdtemp(prefix="against-"))
    try:
        written = Text(data, options.documents, work / "data").written
        lone_texts(work / "data" / "corpus", work / "texts")
        tokenizer = make_tokenizer(work, data)
        ours, theirs = [], []
        for _ in range(options.repeats):
            theirs.append(run_datatrove(options.python, work, tokenizer / "tokenizer.json"))
            ours.append(run_ours(work, tokenizer, options))
    finally:
        shutil.rmtree(work)
    found = {"documents": written, "ours": ours, "datatrove": theirs}
    for name in ("cpu_seconds", "seconds"):
        median = [statistics.median(run[name] for run in runs) for runs in (theirs, ours)]
        found[f"ratio_{name}"] = round(median[0] / median[1], 2)
    print(json.dumps(found) if options.json else "\n".join(f"{k}: {v}" for k, v in found.items()))


def lone_texts(source: Path, out: Path) -> None:
    """The same documents as JSONL that holds nothing but `text`, without the bad lines."""
    out.mkdir()
    for path in sorted(source.iterdir()):
        with (out / f"{path.name.split('.')[0]}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(
                json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts_of(path)
            )


def texts_of(path: Path) -> Iterator[str]:
    openers: dict[str, Any] = {".gz": gzip.open, ".zst": zstandard.open}
    opener = openers.get(path.suffix, open)
    with opener(path, "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                yield json.loads(line)["text"]
            except (ValueError, KeyError, TypeError):
                continue


def run_ours(work: Path, tokenizer: Path, options: argparse.Namespace) -> dict[str, float]:
    """Anew each time, without shards of the run before."""
    for path in [work / "out", *work.glob(".*")]:
        shutil.rmtree(path, ignore_errors=True)
    found = run_stage(work, tokenizer, options)
    return {name: found[name] for name in ("seconds", "cpu_seconds", "kept")}


def run_datatrove(python: str, work: Path, tokenizer: Path) -> dict[str, float]:
    out = work / "datatrove"
    shutil.rmtree(out, ignore_errors=True)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    started, before = time.perf_counter(), cpu_seconds()
    line = [python, CHAIN, work / "texts", out, tokenizer, "1"]
    subprocess.run([str(word) for word in line], env=environment, stdout=sys.stderr, check=True)
    kept = sum(1 for path in (out / "kept").glob("*.gz") for _ in texts_of(path))
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(cpu_seconds() - before, 1),
        "kept": kept,
    }


if __name__ == "__main__":
    main()
