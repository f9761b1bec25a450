"""Time and memory of the stage `instructions` at two sizes.

    DIFFUTRON_DATA=... python -m benchmarks.instructions --rows 50000 200000 --json

The rows are made of sentences of real documents, recombined: a passage with a question, and an
answer. One row in 20 has the passage of an earlier one, so that there are clusters to find. Each
size runs as a user runs it, in a process of its own.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.parts.recombine import Recombiner
from benchmarks.parts.stage_run import command, make_tokenizer, measured, write_params
from diffutron.config.params import load_params
from diffutron.planning.plan import plan, this_machine

SEED = 13
AGAIN = 0.05  # of the rows, on a passage that stood before
REMEMBERED = 1000  # passages that may come again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[50_000, 200_000])
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer folder; else one is trained")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    options = parser.parse_args()
    data = Path(os.environ.get("DIFFUTRON_DATA", ""))
    if not (data / "corpus").is_dir():
        raise SystemExit("set DIFFUTRON_DATA to a folder with corpus/ and cetvel/")
    with tempfile.TemporaryDirectory(prefix="instructions-") as folder:
        work = Path(folder)
        tokenizer = options.tokenizer or make_tokenizer(work, data)
        found = [run(rows, work / str(rows), data, tokenizer) for rows in options.rows]
    for one in found:
        print(json.dumps(one) if options.json else one)


def run(num: int, work: Path, data: Path, tokenizer: Path) -> dict[str, Any]:
    """The stage on so many rows: seconds, memory, rows by their end, and what the plan said."""
    (work / "data" / "instruct").mkdir(parents=True)
    (work / "data" / "cetvel").symlink_to((data / "cetvel").resolve())
    write_rows(work / "data" / "instruct" / "rows.jsonl", num, data)
    params, metrics = work / "params.yaml", work / "instructions.json"
    changes = {
        "corpus.source": "sample",
        "instructions.balance": "none",
        "instructions.max_rows": "null",
    }
    write_params(params, work / "data", changes)
    paths = ["--params", params, "--tokenizer", tokenizer, "--out", work / "out"]
    cost = measured(
        command("instructions", *map(str, [*paths, "--metrics", metrics]), data=work / "data")
    )
    counts = json.loads(metrics.read_text(encoding="utf-8"))
    os.environ["DIFFUTRON_DATA"] = str(work / "data")
    stages = plan(load_params(params), machine=this_machine())["stages"]
    planned = next(one for one in stages if one["name"] == "instructions")
    return {
        "rows": num,
        **cost.shown,
        "planned_seconds": round(3600 * planned["hours"], 1),
        "planned_gb": round(planned["memory_bytes_per_rank"] / 1e9, 3),
        **{
            phase: counts[phase]["rows"] | counts[phase]["dropped"]
            for phase in ("phase1", "phase2")
        },
    }


def write_rows(path: Path, num: int, data: Path) -> None:
    """Rows of both phases by turns."""
    numbers, source = Random(SEED), Recombiner(data, seed=SEED)
    passages: list[str] = []
    with path.open("w", encoding="utf-8") as out:
        for place in range(num):
            again = passages and numbers.random() < AGAIN
            passage = numbers.choice(passages) if again else source.document(most=900)
            question = " ".join(source.word() for _ in range(6)).capitalize() + "?"
            answer = " ".join(source.word() for _ in range(numbers.randint(1, 12)))
            row = (
                {"instruction": question, "input": passage, "output": answer}
                if place % 2
                else {"Input": f"{question}\n{passage}", "Output": answer}
            )
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            passages = [*passages[-REMEMBERED:], passage]


if __name__ == "__main__":
    main()
