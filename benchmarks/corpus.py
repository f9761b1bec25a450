"""Time, memory and losses of the stage `corpus` on text in which it is known what must be found.

    DIFFUTRON_DATA=... python benchmarks/corpus.py --documents 20000 --json

The stage runs as a user runs it, in a process of its own; its peak memory is the largest sum over
it and all its helpers. What it did is read from the folder that it leaves.
"""

import argparse
import gzip
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
from random import Random
from typing import Any

import psutil
import pyarrow.parquet as pq
import zstandard
from pairs import jaccard_of, most_alike
from planted import (
    BOILERPLATE,
    NEAR_CHANGED,
    NEAR_WORDS,
    PLACEHOLDER,
    Plant,
    exam_plants,
    exam_texts,
    secrets,
)
from recombine import Recombiner

from diffutron.data.evaluation_sets import load_sets
from diffutron.data.turkish import turkish_upper
from diffutron.params import TASKS

SOURCES = ("ansiklopedi.jsonl", "haber.jsonl.gz", "web.jsonl.zst")  # the last two are one group
SHARE = {"exact": 0.01, "near": 0.01, "near_short": 0.002, "across": 0.01}  # of the documents
EXAMS, SECRETS, OTHERS = 0.03, 0.0005, 0.02  # of the documents, at most
QUOTA = 0.6  # of the documents, from a group that has two thirds of them
PAIRS_FROM = 200_000  # documents among which the most alike pair is sought
COPIES_TO_COME = 1000  # documents that wait for being copied
BAD_LINES = (b'{"text": "\xff\xfe"}\n', b'["text"]\n', b'{"body": "?"}\n')  # one a file
SEED = 13
Place = tuple[str, int]
Original = tuple[int, str, str]  # number, source and text of a document


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


class Text:
    """The files that the stage will read, and where everything planted stands in them."""

    def __init__(self, data: Path, num: int, folder: Path):
        self.numbers = Random(SEED)
        self.source = Recombiner(data, seed=SEED)
        self.plants: dict[Place, Plant] = {}
        self.originals: dict[int, Place] = {}
        self.texts: dict[Place, str] = {}  # of planted copies and their originals
        self.sample: list[str] = []  # unplanted documents
        self.written = 0
        (folder / "corpus").mkdir(parents=True)
        (folder / "cetvel").symlink_to(data / "cetvel")
        self.lines = dict.fromkeys(SOURCES, 0)
        self.files = [_writer(folder / "corpus" / name) for name in SOURCES]
        other = self._others(data, num)
        waiting = [*self._exams(data, num), *self._secrets(num), *other]
        self.numbers.shuffle(waiting)
        self._write_all(num, waiting)
        for file, bad in zip(self.files, BAD_LINES, strict=True):
            file.write(bad)
            file.close()

    def _exams(self, data: Path, num: int) -> list[Plant]:
        sets, _ = load_sets(TASKS, source="local", folder=data)
        texts = exam_texts(sets)
        many = min(len(texts), max(10, int(EXAMS * num / 3)))
        return list(exam_plants(self.numbers.sample(texts, many), self.source, self.numbers))

    def _secrets(self, num: int) -> list[Plant]:
        found = []
        for kind, secret in secrets(self.numbers, max(4, int(SECRETS * num / 5))):
            words = self.source.document().split(" ")
            words.insert(len(words) // 2, secret)
            found.append(Plant(kind, " ".join(words), secret=secret.strip('(),"')))
        return found

    def _others(self, data: Path, num: int) -> list[Plant]:
        path = data / "lang" / "other_languages.jsonl"
        if not path.exists():
            return []
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        rows = [row for row in rows if len(row["text"].split()) >= 5]
        many = min(len(rows), int(OTHERS * num))
        return [Plant("language", row["text"]) for row in self.numbers.sample(rows, many)]

    def _write_all(self, num: int, waiting: list[Plant]) -> None:
        pools: dict[bool, list[Original]] = {False: [], True: []}  # by: too short for a near copy
        every = num / (len(waiting) + 1)
        due = every
        while self.written < num:
            if waiting and self.written >= due:
                self._write(waiting.pop())
                due += every
            if self.numbers.random() < sum(SHARE.values()):
                kind = self.numbers.choices(list(SHARE), list(SHARE.values()))[0]
                if pool := pools[kind == "near_short"]:
                    self._write_copy(kind, pool.pop(self.numbers.randrange(len(pool))))
            text = self.source.document()
            if self.numbers.random() < 0.01:
                text = f"{text}\n{self.numbers.choice(BOILERPLATE)}"
            name = self.numbers.choice(SOURCES)
            self._put(name, text)
            if len(self.sample) < PAIRS_FROM:
                self.sample.append(text)
            pool = pools[len(text.split()) < NEAR_WORDS]
            if len(pool) < COPIES_TO_COME and self.numbers.random() < 2 * sum(SHARE.values()):
                pool.append((self.written, name, text))
                self.originals[self.written] = (name, self.lines[name])
                self.texts[name, self.lines[name]] = text

    def _write_copy(self, kind: str, original: Original) -> None:
        number, source, text = original
        if kind.startswith("near"):
            words = [w for part in text.split("\n") for w in (*part.split(" "), "\n")][:-1]
            plain = [n for n, word in enumerate(words) if word != "\n"]
            changed = self.source.replaced([words[n] for n in plain], share=NEAR_CHANGED)
            for n, word in zip(plain, changed, strict=True):
                words[n] = word
            text = " ".join(words).replace(" \n ", "\n")
        elif self.numbers.random() < 0.5:  # case and white space make no other text
            text = turkish_upper(text[:1]) + text[1:].replace(" ", "  ", 3)
        elsewhere = [name for name in SOURCES if name != source]
        where = self.numbers.choice(elsewhere) if kind == "across" else source
        self._write(Plant(kind, text, original=number, source=where))

    def _write(self, plant: Plant) -> None:
        name = plant.source or self.numbers.choice(SOURCES)
        self._put(name, plant.text)
        self.plants[name, self.lines[name]] = plant
        self.texts[name, self.lines[name]] = plant.text

    def _put(self, name: str, text: str) -> None:
        source = name.split(".")[0]
        group = "ansiklopedi" if source == "ansiklopedi" else "karma"
        row = {"text": text, "source": source, "group": group}
        self.files[SOURCES.index(name)].write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        self.lines[name] += 1
        self.written += 1


def _writer(path: Path) -> Any:
    if path.suffix == ".gz":
        return gzip.open(path, "wb", compresslevel=1)
    if path.suffix == ".zst":
        return zstandard.open(path, "wb")
    return path.open("wb")


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
    peak = 0
    while process.poll() is None:
        peak = max(peak, tree_memory(process.pid))
        time.sleep(0.1)
    finish(process)
    seconds = time.perf_counter() - started
    counts = json.loads(metrics.read_text(encoding="utf-8"))
    return {
        "docs_per_s": round(counts["documents"]["read"] / seconds, 1),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds() - before, 1),
        "peak_rss_gb": round(peak / 1e9, 3),
        "workers": options.workers or len(os.sched_getaffinity(0)),
        "kept": counts["documents"]["kept"],
        "reasons": counts["dropped"],
        "personal_data": counts["personal_data"],
    }


def cpu_seconds() -> float:
    """Of all ended child processes and theirs: what the run cost, whoever else used the cores."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def tree_memory(pid: int) -> int:
    """Resident bytes of a process and all its descendants."""
    total = 0
    try:
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            try:
                total += process.memory_info().rss
            except psutil.Error:
                continue
    except psutil.Error:
        return total
    return total


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
