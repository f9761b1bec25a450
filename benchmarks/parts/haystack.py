"""The files that the stage reads in a measurement, and where everything planted stands in them."""

import gzip
import json
from pathlib import Path
from random import Random
from typing import Any

import zstandard

from benchmarks.parts.planted import (
    BOILERPLATE,
    NEAR_CHANGED,
    NEAR_WORDS,
    Plant,
    exam_plants,
    exam_texts,
    secrets,
)
from benchmarks.parts.recombine import Recombiner
from diffutron.config.section import TASKS
from diffutron.data.evaluation_sets.evaluation_sets import load_sets
from diffutron.text.turkish import turkish_upper

SOURCES = ("ansiklopedi.jsonl", "haber.jsonl.gz", "web.jsonl.zst")  # the last two are one group
SHARE = {"exact": 0.01, "near": 0.01, "near_short": 0.002, "across": 0.01}  # of the documents
EXAMS, SECRETS, OTHERS = 0.03, 0.0005, 0.02  # of the documents, at most
PAIRS_FROM = 200_000  # documents among which the most alike pair is sought
COPIES_TO_COME = 1000  # documents that wait for being copied
BAD_LINES = (b'{"text": "\xff\xfe"}\n', b'["text"]\n', b'{"body": "?"}\n')  # one a file
SEED = 13
Place = tuple[str, int]
Original = tuple[int, str, str]  # number, source and text of a document


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
