"""Memory and time of the half of the stage `corpus` that compares documents, by their number.

    python -m benchmarks.joins --documents 1000000 4000000 --json

The shards are made up: random keys, 3 % of the documents exact copies and 3 % near copies of
earlier ones, the same 5000 short texts in each. So the half that looks at one document, whose
memory is a few shards whatever the input, costs nothing here and the input may be large. Each
number of documents has a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from diffutron.config.data_params import CorpusParams
from diffutron.config.params import parse_params
from diffutron.data.corpus.corpus import Sources, compare_documents
from diffutron.data.corpus.document_steps import Recipe
from diffutron.data.corpus.shards import SCHEMA, ShardFile, shard_bytes
from diffutron.data.sources.bad_rows import BadRows
from diffutron.operations.profiles import compose

ROWS = 5000  # of a shard
WORDS = 20  # of a document
COPIES = 150  # of each kind in a shard
VOCABULARY = 30_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=int, nargs="+", default=[1_000_000, 4_000_000])
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument("--work", type=Path, help="folder for the files; a temporary one else")
    options = parser.parse_args()
    if len(options.documents) == 1:
        print_row(measure(options.documents[0], options.work), as_json=options.json)
        return
    for number in options.documents:
        command = [sys.executable, "-m", "benchmarks.joins", "--documents", str(number)]
        command += ["--json"] if options.json else []
        command += ["--work", str(options.work)] if options.work else []
        subprocess.run(command, check=True)


def print_row(row: dict[str, Any], *, as_json: bool) -> None:
    said = json.dumps(row) if as_json else "\n".join(f"{k}: {v}" for k, v in row.items())
    print(said, flush=True)


def measure(documents: int, parent: Path | None) -> dict[str, Any]:
    """Run the joins once, and compare what they found with what was planted."""
    params = parse_params(compose("paper"), origin="paper").corpus
    with tempfile.TemporaryDirectory(prefix="joins-", dir=parent) as folder:
        shards, out = Path(folder) / "shards", Path(folder) / "out"
        shards.mkdir()
        out.mkdir()
        cleaned = write_shards(documents // ROWS, shards, params)
        bad_rows = BadRows("corpus", max_bad_share=0.0)
        bad_rows.read = documents
        recipe = Recipe(params, Path(), (), "")
        started = time.perf_counter()
        counts = compare_documents(
            cleaned, recipe, Sources(bad_rows, [], {}, {}), out, vocab_size=VOCABULARY, seed=0
        )
        seconds = time.perf_counter() - started
    return {
        "documents": documents,
        "seconds": round(seconds, 1),
        "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 3),
        "planted": 2 * COPIES * (documents // ROWS - 1),
        "found": counts["dropped"]["duplicate"],
        "kept": counts["documents"]["kept"],
    }


def write_shards(number: int, folder: Path, params: CorpusParams) -> list[ShardFile]:
    """Row r of each shard has the text of row r of the first one, so a copy is one by its keys."""
    numbers = np.random.default_rng(0)
    words = numbers.integers(0, VOCABULARY, (ROWS, WORDS))
    texts = [" ".join(f"s{word}" for word in row) for row in words.tolist()]
    ids = pa.ListArray.from_arrays(
        np.arange(ROWS + 1, dtype=np.int32) * WORDS, words.ravel().astype(np.uint32)
    )
    nothing = pa.array([""] * ROWS)
    bands = params.near_duplicate.bands
    offsets = np.arange(ROWS + 1, dtype=np.int32) * bands
    fixed = {name: nothing for name in ("reason", "rule", "contaminated")}
    fixed |= {name: pa.array(["made up"] * ROWS) for name in ("source", "group")}
    fixed |= {"text": pa.array(texts), "ids": ids, "lines": pa.array([[]] * ROWS)}
    fixed |= {"num_words": pa.array([WORDS] * ROWS), "line": pa.array(range(1, ROWS + 1))}
    exact, near = slice(0, COPIES), slice(COPIES, 2 * COPIES)
    cleaned = []
    first_keys = first_bands = np.empty(0, np.uint64)
    for shard in range(number):
        keys = numbers.integers(1, 2**63, ROWS).astype(np.uint64)
        mine = numbers.integers(1, 2**63, (ROWS, bands)).astype(np.uint64)
        if shard:
            keys[exact], mine[exact], mine[near] = (
                first_keys[exact],
                first_bands[exact],
                first_bands[near],
            )
        else:
            first_keys, first_bands = keys, mine
        columns = fixed | {
            "file": pa.array([f"{shard}.jsonl"] * ROWS),
            "key": pa.array(keys),
            "bands": pa.ListArray.from_arrays(offsets, mine.ravel()),
        }
        path = folder / f"{shard}.arrow"
        table = pa.table({name: columns[name] for name in SCHEMA.names}).cast(SCHEMA)
        path.write_bytes(shard_bytes([(table, Counter())]))
        cleaned.append(ShardFile(path, Counter()))
    return cleaned


if __name__ == "__main__":
    main()
