"""Rows that must stand on one side of a split: what one of them gives away of another.

Words are compared as `text.fold` sees them: case, diacritics, HTML entities, white space and
punctuation make no difference. The rows lie in a `Database` and come from there some at a time, so
what is held in memory does not grow with their number.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import ceil
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diffutron.config.data_params import NearDuplicateParams
from diffutron.data.matching.database import Database
from diffutron.data.matching.dedup import (
    BANDS,
    PAIRS,
    band_keys,
    band_rows,
    find_clusters,
    find_near,
    mixed,
    shingle_hashes,
)
from diffutron.text.fold import folded_words
from diffutron.text.turkish import words

AT_ONCE = 5000  # rows in memory
AHEAD = 500  # rows that are read with one
_ROW = "select index, phase, prompt, answer from rows"
_READ = f"{_ROW} where index >= ? and index < ? and reason = ''"
STEM = 4  # letters of a word that its Turkish suffixes leave alone, near enough
HALF = 4  # words of half a run
RUN = 2 * HALF  # words one after the other; the shortest passage that is looked for
PASSAGE_SHARE = 0.3  # of the words of the shorter row, its wording left out; so many are a passage
PASSAGE_WORDS = 30  # so many are a passage in a row of any length
MOST_ROWS = 200  # that share a passage; words of more rows are a wording, as of a task
MOST_SHARE, LEAST_ROWS = 0.1, 8  # of all rows: in a small set a wording is in fewer rows
SAME_QUESTION = 0.8  # of the stems of two prompts; a larger threshold of the params counts instead
LEAST_STEMS, MOST_STEMS = 4, 40  # of a prompt, its wording left out, that is compared by them
COLUMNS = {
    "keys": "key ubigint, index bigint",
    "runs": "run ubigint, index bigint, place bigint",
    "own": "index bigint, num_words bigint",
}


def find_row_clusters(db: Database, near: NearDuplicateParams, *, facts: bool = True) -> None:
    """From `rows` (index, phase, prompt, answer, reason) to `clusters` (index, cluster): the rows
    without a reason that are bound to others, with the smallest index that they lead to.

    Bound are rows with the same prompt, near copies of a prompt or of a whole row, those that share
    a passage, and, with `facts`, those of a phase that ask for the same fact (same answer, and the
    word that is rarest in the set is the same).
    """
    wording, prompts = Wording.of(db), near_prompts(near)
    for table, columns in COLUMNS.items():
        db.run(f"create table {table} ({columns})")
    for table in ("prompt_bands", "row_bands"):
        db.load(table, [], BANDS)
    for batch in _batches(db):
        runs = Runs.of(batch.texts, wording)
        db.add("keys", _keys(batch, wording if facts else None))
        db.add("runs", runs.table(batch.index))
        own = np.bincount(runs.row, weights=~runs.wording, minlength=len(batch.index))
        db.add("own", pa.table({"index": batch.index, "num_words": own.astype(np.int64)}))
        _add_bands(db, "prompt_bands", batch.index, runs.own_stems(batch.asked), prompts)
        _add_bands(db, "row_bands", batch.index, batch.plain, near)
    db.load("exact", [], PAIRS)
    _bind_same_keys(db)
    _bind_passages(db)
    db.run("create index places on rows (index)")  # for single rows
    _bind_near(db, "prompt_bands", _Rows(db, wording).own_stems, prompts)
    _bind_near(db, "row_bands", _Rows(db, wording).plain_words, near)
    db.load("near", [], PAIRS)
    find_clusters(db)
    db.run("drop index places")
    db.drop(*COLUMNS, "exact", "near", "edges", "nearer")


def near_prompts(near: NearDuplicateParams) -> NearDuplicateParams:
    """How the stems of two prompts are compared."""
    return near.model_copy(update={"ngram": 1, "threshold": max(near.threshold, SAME_QUESTION)})


@dataclass(frozen=True)
class _Batch:
    """Some rows [N]: the folded words of the prompts and of prompts with answers, and the plain
    words of the latter."""

    index: NDArray[np.int64]
    phase: Sequence[int]
    asked: Sequence[list[str]]
    texts: Sequence[list[str]]
    plain: Sequence[list[str]]

    @classmethod
    def of(cls, rows: Sequence[tuple[int, int, str, str]]) -> Self:
        """From (index, phase, prompt, answer)."""
        index, phase, prompts, answers = zip(*rows, strict=True)
        asked = list(map(folded_words, prompts))
        both = zip(prompts, answers, strict=True)
        return cls(
            np.array(index, np.int64),
            phase,
            asked,
            [[*mine, *folded_words(one)] for mine, one in zip(asked, answers, strict=True)],
            [words(f"{prompt} {answer}") for prompt, answer in both],
        )


def _batches(db: Database) -> Iterator[_Batch]:
    for start in range(0, db.value("select coalesce(max(index) + 1, 0) from rows"), AT_ONCE):
        if rows := db.rows(f"{_READ} order by index", [start, start + AT_ONCE]):
            yield _Batch.of(rows)


class _Rows:
    """Single rows, which are mostly asked for in their order."""

    def __init__(self, db: Database, wording: "Wording"):
        self.db, self.wording = db, wording
        self.ahead: dict[int, tuple[int, str, str]] = {}

    def plain_words(self, index: int) -> Sequence[str]:
        return self._row(index).plain[0]

    def own_stems(self, index: int) -> Sequence[str]:
        found = self._row(index)
        return Runs.of(found.texts, self.wording).own_stems(found.asked)[0]

    def _row(self, index: int) -> "_Batch":
        if index not in self.ahead and index > max(self.ahead, default=-1):
            found = self.db.rows(f"{_READ} order by index", [index, index + AHEAD])
            self.ahead = {one[0]: one[1:] for one in found}
        if index in self.ahead:
            return _Batch.of([(index, *self.ahead[index])])
        return _Batch.of(self.db.rows(f"{_ROW} where index = ?", [index]))


def _stem(word: str) -> str:
    return word if word.isdecimal() else word[:STEM]


def _keys(batch: _Batch, wording: "Wording | None") -> pa.Table:
    """A number for the prompt of each row and, with a wording, for the fact that it asks for: the
    phase, the answer and the rarest stem of the prompt."""
    named = [["prompt", *asked] for asked in batch.asked]
    if wording is not None:
        rows = zip(batch.phase, batch.asked, batch.texts, strict=True)
        named += [
            ["fact", str(phase), wording.rarest_stem(asked), *text[len(asked) :]]
            for phase, asked, text in rows
        ]
    keys = [
        int.from_bytes(hashlib.blake2b(" ".join(one).encode(), digest_size=8).digest(), "little")
        for one in named
    ]
    index = np.tile(batch.index, len(keys) // len(batch.index))
    return pa.table({"key": pa.array(keys, pa.uint64()), "index": index})


def _bind_same_keys(db: Database) -> None:
    db.run("""
        insert into exact
        with first as (
            select key, min(index) as other from keys group by key having count(*) > 1
        )
        select distinct index, other from keys join first using (key) where index <> other
    """)


def _bind_passages(db: Database) -> None:
    """More rows for `exact`: rows of which one has a passage of another, the first that has it. A
    stretch of several runs has RUN - 1 words more than it has runs."""
    db.run(f"""
        insert into exact
        with first as (
            select run, min(index) as other from runs group by run having count(*) > 1
        ),
        found as (
            select index, other, place - lag(place) over (
                partition by index, other order by place
            ) as step
            from runs join first using (run) where index <> other
        ),
        shared as (
            select index, other, sum(case when step = 1 then 1 else {RUN} end) as num_words
            from found group by index, other
        )
        select shared.index, shared.other from shared
        join own as mine on mine.index = shared.index
        join own as first on first.index = shared.other
        where shared.num_words >= least(
            {PASSAGE_WORDS}, {PASSAGE_SHARE}::double * least(mine.num_words, first.num_words)
        )
    """)


def _add_bands(
    db: Database,
    table: str,
    index: NDArray[np.int64],
    texts: Sequence[Sequence[str]],
    near: NearDuplicateParams,
) -> None:
    """The keys of texts that are compared; empty ones resemble none."""
    some = [place for place, text in enumerate(texts) if text]
    keys = band_keys([texts[place] for place in some], near)
    rows = band_rows(index[some], np.zeros(len(some), np.int32), keys)
    db.add(table, pa.Table.from_batches([rows]))


def _bind_near(
    db: Database, table: str, words_of: Callable[[int], Sequence[str]], near: NearDuplicateParams
) -> None:
    """More rows for `exact`: rows that resemble each other."""
    db.run(f"alter table {table} rename to bands")
    find_near(db, words_of, near)
    db.run("insert into exact from near")
    db.drop("bands", "near")


@dataclass(frozen=True)
class Wording:
    """What many rows have in common, which is how a task is asked, and no passage.

    often: the numbers of `HALF` words that are of a wording, sorted. prompts: in how many prompts a
    stem stands.
    """

    often: NDArray[np.uint64]
    prompts: Counter[str]

    @classmethod
    def of(cls, db: Database) -> Self:
        db.run("create table halves (half ubigint)")
        prompts, num_rows = Counter[str](), 0
        for batch in _batches(db):
            num_rows += len(batch.index)
            db.add("halves", pa.table({"half": _halves(batch.texts)[0]}))
            stems = (set(map(_stem, asked)) for asked in batch.asked)
            prompts.update(chain.from_iterable(stems))
        most = min(MOST_ROWS, max(LEAST_ROWS, ceil(MOST_SHARE * num_rows)))
        often = db.rows("select half from halves group by half having count(*) > ?", [most])
        db.drop("halves")
        return cls(np.sort(np.array(often, np.uint64).ravel()), prompts)

    def rarest_stem(self, asked: Sequence[str]) -> str:
        stems = set(map(_stem, asked))
        return min(stems, key=lambda stem: (self.prompts[stem], stem), default="")


def _halves(texts: Sequence[Sequence[str]]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """A number for each `HALF` words of a text [N], and where they begin among all words [N]."""
    starts = np.cumsum([0, *map(len, texts)])
    long = [place for place, text in enumerate(texts) if len(text) >= HALF]
    if not long:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    halves, ends = shingle_hashes([texts[place] for place in long], HALF)
    counts = np.diff(ends.astype(np.int64))
    first = np.repeat(starts[long] - ends[:-1].astype(np.int64), counts)
    return halves, first + np.arange(len(halves))


@dataclass(frozen=True)
class Runs:
    """The words of some rows [N] one after the other, and which of them are a wording.

    row: the place of the row of each word. half: a number for each `HALF` words that begin at a
    word. rare: whether a half lies in one row and is of no wording. wording: whether a word is of
    one.
    """

    row: NDArray[np.int64]
    half: NDArray[np.uint64]
    rare: NDArray[np.bool_]
    wording: NDArray[np.bool_]

    @classmethod
    def of(cls, texts: Sequence[Sequence[str]], common: Wording) -> Self:
        row = np.repeat(np.arange(len(texts)), list(map(len, texts)))
        halves, at = _halves(texts)
        half = np.zeros(len(row), np.uint64)
        whole, often = np.zeros((2, len(row)), bool)
        half[at], whole[at], often[at] = halves, True, np.isin(halves, common.often)
        wording = np.zeros(len(row), bool)
        for place in range(HALF):
            wording[place:] |= often[: len(row) - place]
        return cls(row, half, whole & ~often, wording)

    def table(self, index: NDArray[np.int64]) -> pa.Table:
        """The runs: the number of each, the index of its row, and where it begins."""
        start = self.rare & _later(self.rare) & (_later(self.row) == self.row)
        run = mixed(self.half ^ mixed(_later(self.half)))
        return pa.table(
            {"run": run[start], "index": index[self.row[start]], "place": np.flatnonzero(start)}
        )

    def own_stems(self, asked: Sequence[Sequence[str]]) -> list[list[str]]:
        """The stems of each prompt, each once, without the wording; none where that leaves too few
        to tell one question from another, or so many that they are a passage. `asked` are the
        beginnings of the texts."""
        starts = np.searchsorted(self.row, np.arange(len(asked))).tolist()
        found = []
        for mine, start in zip(asked, starts, strict=True):
            of_all = self.wording[start : start + len(mine)].tolist()
            own = {_stem(word): 0 for word, one in zip(mine, of_all, strict=True) if not one}
            found.append(list(own) if LEAST_STEMS <= len(own) <= MOST_STEMS else [])
        return found


def _later(values: NDArray) -> NDArray:
    """Each value is the one `HALF` places on; the last ones are 0, or False."""
    return np.concatenate([values[HALF:], np.zeros(min(HALF, len(values)), values.dtype)])
