"""Which engine finds the band keys that several documents share: polars beside DuckDB.

    python -m benchmarks.join_engines --documents 2000000 --json

The query of `dedup.find_near` that touches most rows: of all (document, band, key), those whose key
is another document's too. Both read the same parquet file, each in a process of its own, by turns.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BANDS = 20
PART = 50_000  # documents written together
COPIES = 1_500  # of them copies of earlier ones
ENGINES = ("polars", "duckdb")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    parser.add_argument("--work", type=Path, help="folder for the files; a temporary one else")
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        print(json.dumps(measure(options.engine, options.file)))
        return
    with tempfile.TemporaryDirectory(prefix="engines-", dir=options.work) as folder:
        file = Path(folder) / "bands.parquet"
        write_bands(file, options.documents)
        rounds = [{one: run(one, file) for one in ENGINES} for _ in range(options.rounds)]
    found = {"documents": options.documents, **summary(rounds)}
    lines = [f"{name}: {value}" for name, value in found.items()]
    print(json.dumps(found) if options.json else "\n".join(lines))


def write_bands(file: Path, documents: int) -> None:
    numbers = np.random.default_rng(0)
    schema = pa.schema([("index", pa.int64()), ("band", pa.uint8()), ("key", pa.uint64())])
    first = numbers.integers(0, 2**63, (COPIES, BANDS)).astype(np.uint64)
    with pq.ParquetWriter(file, schema) as writer:
        for start in range(0, documents, PART):
            keys = numbers.integers(0, 2**63, (PART, BANDS)).astype(np.uint64)
            keys[:COPIES] = first
            index = np.repeat(np.arange(start, start + PART), BANDS)
            band = np.tile(np.arange(BANDS, dtype=np.uint8), PART)
            columns = [pa.array(index), pa.array(band), pa.array(keys.ravel())]
            writer.write_table(pa.table(columns, schema=schema))


def run(engine: str, file: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.join_engines", "--engine", engine]
    done = subprocess.run([*command, "--file", str(file)], stdout=subprocess.PIPE, check=False)
    if done.returncode:  # killed: it asked for more memory than there is
        return {"seconds": float("inf"), "peak_rss_gb": float("inf"), "shared": -1}
    return json.loads(done.stdout)


def measure(engine: str, file: Path) -> dict[str, float]:
    started = time.perf_counter()
    shared = {"polars": with_polars, "duckdb": with_duckdb}[engine](file)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"seconds": time.perf_counter() - started, "peak_rss_gb": peak, "shared": shared}


def with_polars(file: Path) -> int:
    import polars

    rows, key = polars.scan_parquet(file), ["band", "key"]
    shared = rows.group_by(key).agg(polars.len()).filter(polars.col("len") > 1)
    found = rows.join(shared, on=key, how="semi").select(polars.len())
    return found.collect(engine="streaming").item()


def with_duckdb(file: Path) -> int:
    from diffutron.data.matching.database import database

    with tempfile.TemporaryDirectory(dir=file.parent) as folder, database(Path(folder)) as db:
        db.run(f"create view bands as from '{file}'")
        db.run(
            "create table shared as select band, key from bands group by all having count(*) > 1"
        )
        return db.value("select count(*) from bands semi join shared using (band, key)")


def summary(rounds: list[dict[str, dict[str, float]]]) -> dict[str, float]:
    """Medians; `speedup` is of the rounds, polars over DuckDB."""
    found: dict[str, float] = {}
    for engine in ENGINES:
        for name in ("seconds", "peak_rss_gb"):
            value = statistics.median(one[engine][name] for one in rounds)
            found[f"{engine}_{name}"] = round(value, 2)
    ratios = [one["polars"]["seconds"] / one["duckdb"]["seconds"] for one in rounds]
    equal = all(one["polars"]["shared"] == one["duckdb"]["shared"] for one in rounds)
    return found | {"speedup": round(statistics.median(ratios), 2), "equal": equal}


if __name__ == "__main__":
    main()
