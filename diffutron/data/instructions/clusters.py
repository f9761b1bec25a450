"""Rows that must stand on one side of a split: what one of them gives away of another.

Words are compared as `text.fold` sees them: case, diacritics, HTML entities, white space and
punctuation make no difference.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import ceil
from typing import Protocol, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diffutron.config.data_params import NearDuplicateParams
from diffutron.data.matching.database import Database, database
from diffutron.data.matching.dedup import (
    BANDS,
    PAIRS,
    band_keys,
    band_rows,
    find_clusters,
    find_near,
)
from diffutron.text.fold import folded_words
from diffutron.text.turkish import words

STEM = 4  # letters of a word that its Turkish suffixes leave alone, near enough
HALF = 4  # words of half a run
RUN = 2 * HALF  # words one after the other; the shortest passage that is looked for
PASSAGE_SHARE = 0.3  # of the words of the shorter row, its wording left out; so many are a passage
PASSAGE_WORDS = 30  # so many are a passage in a row of any length
MOST_ROWS = 200  # that share a passage; words of more rows are a wording, as of a task
MOST_SHARE, LEAST_ROWS = 0.1, 8  # of all rows: in a small set a wording is in fewer rows
SAME_QUESTION = 0.8  # of the stems of two prompts; a larger threshold of the params counts instead
LEAST_STEMS, MOST_STEMS = 4, 40  # of a prompt, its wording left out, that is compared by them


class Asked(Protocol):
    """What of a row is compared."""

    phase: int
    prompt: str
    answer: str


def row_clusters(
    rows: Sequence[Asked], near: NearDuplicateParams, *, facts: bool = True
) -> list[int]:
    """Rows that must stand on one side of a split share a number: those with the same prompt, near
    copies of a prompt or of a whole row, those that share a passage, and, with `facts`, those of a
    phase that ask for the same fact (same answer, and the word that is rarest in the set is the
    same)."""
    asked = [folded_words(row.prompt) for row in rows]
    texts = [[*mine, *folded_words(row.answer)] for mine, row in zip(asked, rows, strict=True)]
    runs = Runs.of(texts)
    same = np.concatenate([_equal(asked), runs.shared()])
    if facts:
        same = np.concatenate([same, _equal(_facts(rows, asked, texts))])
    found = np.arange(len(rows))
    with database() as db:
        columns = {"index": same[:, 0], "other": same[:, 1]}
        db.load("exact", pa.table(columns, schema=PAIRS).to_batches(), PAIRS)
        _add_near(db, runs.own_stems(asked), near_prompts(near))
        _add_near(db, [words(f"{row.prompt} {row.answer}") for row in rows], near)
        db.run("create table near (index bigint, other bigint)")
        find_clusters(db)
        for index, cluster in db.rows("select index, cluster from clusters"):
            found[index] = cluster
    return found.tolist()


def near_prompts(near: NearDuplicateParams) -> NearDuplicateParams:
    """How the stems of two prompts are compared."""
    return near.model_copy(update={"ngram": 1, "threshold": max(near.threshold, SAME_QUESTION)})


def _equal(keys: Sequence[Sequence[object]]) -> NDArray[np.int64]:
    """Pairs [N, 2] of each index with the first one of the same key."""
    first: dict[tuple[object, ...], int] = {}
    pairs = [(index, first.setdefault(tuple(key), index)) for index, key in enumerate(keys)]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _add_near(db: Database, texts: Sequence[Sequence[str]], near: NearDuplicateParams) -> None:
    """More rows for `exact`: texts that resemble each other. Empty ones resemble none."""
    index = np.array([place for place, text in enumerate(texts) if text], np.int64)
    keys = band_keys([text for text in texts if text], near)
    db.load("bands", [band_rows(index, np.zeros(len(index), np.int32), keys)], BANDS)
    find_near(db, texts.__getitem__, near)
    db.run("insert into exact from near")
    db.drop("bands", "near")


def _stem(word: str) -> str:
    return word if word.isdecimal() else word[:STEM]


def _facts(
    rows: Sequence[Asked], asked: Sequence[list[str]], texts: Sequence[list[str]]
) -> list[tuple[object, ...]]:
    """The phase, the answer and the rarest stem of the prompt of each row."""
    stems = [sorted(set(map(_stem, mine))) for mine in asked]
    common = Counter(chain.from_iterable(stems))
    rarest = [min(mine, key=lambda stem: (common[stem], stem), default="") for mine in stems]
    return [
        (row.phase, *text[len(mine) :], stem)
        for row, mine, text, stem in zip(rows, asked, texts, rarest, strict=True)
    ]


@dataclass(frozen=True)
class Runs:
    """The words of all rows [N] one after the other, and which of them are a wording.

    Words that many rows have in common are how a task is asked, and no passage.

    row: the row of each word. half: a number for each `HALF` words that begin at a word [N].
    rare: whether a half lies in one row and is of no wording. wording: whether a word is of one.
    """

    row: NDArray[np.int64]
    half: NDArray[np.int64]
    rare: NDArray[np.bool_]
    wording: NDArray[np.bool_]

    @classmethod
    def of(cls, texts: Sequence[Sequence[str]]) -> Self:
        numbers: dict[str, int] = {}
        code = np.array(
            [numbers.setdefault(word, len(numbers)) for text in texts for word in text], np.int64
        )
        row = np.repeat(np.arange(len(texts)), list(map(len, texts)))
        half, whole = code, np.ones(len(code), bool)
        for place in range(1, HALF):
            whole &= _later(row, place) == row
            half = np.unique(half * len(numbers) + _later(code, place), return_inverse=True)[1]
        most = min(MOST_ROWS, max(LEAST_ROWS, ceil(MOST_SHARE * len(texts))))
        often = np.bincount(half[whole], minlength=len(half))[half] > most
        wording = np.zeros(len(code), bool)
        for place in range(HALF):
            wording[place:] |= (often & whole)[: len(code) - place]
        return cls(row, half, whole & ~often, wording)

    def shared(self) -> NDArray[np.int64]:
        """Pairs [N, 2] of rows, the later one first, that share a passage."""
        later = _later(self.row, HALF), _later(self.half, HALF), _later(self.rare, HALF)
        start = self.rare & later[2] & (later[0] == self.row)
        row, first_half, second_half = self.row[start], self.half[start], later[1][start]
        run = first_half * (len(self.half) + 1) + second_half
        _, first, number = np.unique(run, return_index=True, return_inverse=True)
        pairs, at = np.stack([row, row[first][number]], axis=1), np.flatnonzero(start)
        again = pairs[:, 0] != pairs[:, 1]
        pairs, at = pairs[again], at[again]
        # A stretch of several runs has RUN - 1 words more than it has runs.
        goes_on = (np.diff(at, prepend=-2) == 1) & (pairs[:, 1] == np.roll(pairs[:, 1], 1))
        pairs, number = np.unique(pairs, axis=0, return_inverse=True)
        shared = np.bincount(number, weights=np.where(goes_on, 1, RUN), minlength=len(pairs))
        own = np.bincount(self.row, weights=~self.wording)
        shorter = own[pairs].min(axis=1) if len(pairs) else shared
        return pairs[shared >= np.minimum(PASSAGE_WORDS, PASSAGE_SHARE * shorter)]

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


def _later(values: NDArray, places: int) -> NDArray:
    """Each value is the one so many places on; the last ones are -1, or False."""
    found = np.full_like(values, False if values.dtype == bool else -1)
    found[: len(values) - places] = values[places:]
    return found
