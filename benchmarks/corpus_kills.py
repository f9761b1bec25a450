"""Kill the stage `corpus` at random moments, run it again, and compare every byte.

    DIFFUTRON_DATA=... python -m benchmarks.corpus_kills --documents 5000 --kills 20 \
        --tokenizer FOLDER

A run is a forked process that is sent SIGKILL once it has used a random share of the processor
time that an uninterrupted run uses, so a busy machine changes no moment.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from random import Random

import psutil

from benchmarks.parts.haystack import Text
from benchmarks.parts.stage_run import write_params
from diffutron.config.params import load_params
from diffutron.data.corpus.corpus import corpus

SHARD_DOCUMENTS = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    work = Path(tempfile.mkdtemp(prefix="kills-", dir=options.work))
    try:
        Text(Path(os.environ["DIFFUTRON_DATA"]), options.documents, work / "data")
        os.environ["DIFFUTRON_DATA"] = str(work / "data")
        changes = {"corpus.shard_documents": SHARD_DOCUMENTS, "instructions.source": "sample"}
        write_params(work / "params.yaml", work / "data", changes)
        print(json.dumps(measure(work, options)))
    finally:
        shutil.rmtree(work)


def measure(work: Path, options: argparse.Namespace) -> dict:
    whole = work / "whole" / "out"
    used = run(work, whole, options.tokenizer, kill_after=None)
    expected = digests(whole)
    numbers, equal, moments = Random(13), 0, []
    for trial in range(options.kills):
        out = work / f"trial{trial}" / "out"
        share = numbers.random()
        run(work, out, options.tokenizer, kill_after=share * used)
        left = shards(out)
        run(work, out, options.tokenizer, kill_after=None)
        equal += digests(out) == expected
        moments.append({"share": round(share, 3), "shards_kept": left})
        shutil.rmtree(out.parent)
    return {"kills": options.kills, "equal": equal, "cpu_seconds": round(used, 1), "at": moments}


def run(work: Path, out: Path, tokenizer: Path, *, kill_after: float | None) -> float:
    """Run the stage in a process of its own; the processor seconds it used."""
    out.parent.mkdir(exist_ok=True)
    child = get_context("fork").Process(target=stage, args=(work / "params.yaml", out, tokenizer))
    child.start()
    used, process = 0.0, psutil.Process(child.pid)
    while child.is_alive():
        times = process.cpu_times()
        used = times.user + times.system
        if kill_after is not None and used >= kill_after:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.02)
    child.join()
    if kill_after is None and child.exitcode:
        raise SystemExit(f"the stage ended with {child.exitcode}")
    return used


def stage(params: Path, out: Path, tokenizer: Path) -> None:
    metrics = out.with_suffix(".json")
    corpus(load_params(params), tokenizer=tokenizer, out=out, metrics=metrics, workers=1)


def digests(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()}


def shards(out: Path) -> int:
    return len(list((out.parent / f".{out.name}.shards").glob("*.arrow")))


if __name__ == "__main__":
    main()
