"""Text for measuring the corpus stage: sentences of different real documents, recombined.

Three words in ten are replaced by words of other documents, so that two documents which were not
planted as copies stay below a Jaccard value of 0.3 even where they share a sentence.
"""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

MEDIAN_CHARACTERS = 420  # drawn; the last sentence runs over, so half the documents have 500
SPREAD = 0.55  # of the logarithm of the length
LONGEST = 2200  # characters; longer ones would only measure the length rule
REPLACED = 0.3
MIN_SENTENCES = 3
MIN_WORDS = 4  # of a sentence of the pool
POOL_WORDS = 2_000_000
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|\n+")
_EDGE = re.compile(r"^\W+|\W+$")


def real_texts(folder: Path) -> Iterator[str]:
    """The documents of `corpus/` of a data folder."""
    for path in sorted((folder / "corpus").glob("*.jsonl*")):
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8") as lines:
            yield from (json.loads(line)["text"] for line in lines)


class Recombiner:
    """A stream of documents; the same seed gives the same ones."""

    def __init__(self, folder: Path, *, seed: int):
        self.numbers = np.random.default_rng(seed)
        parts = (part for text in real_texts(folder) for part in _SENTENCE_END.split(text))
        self.sentences = [words for part in parts if len(words := part.split()) >= MIN_WORDS]
        plain = (_EDGE.sub("", word) for sentence in self.sentences for word in sentence)
        self.words = [word for word in plain if word.isalpha()][:POOL_WORDS]

    def word(self) -> str:
        return self.words[self.numbers.integers(len(self.words))]

    def document(self, *, most: int = LONGEST) -> str:
        """A document of at least three sentences; some have several lines."""
        length = MEDIAN_CHARACTERS * np.exp(SPREAD * self.numbers.standard_normal())
        length = min(length, most)
        sentences: list[str] = []
        have = 0
        while have < length or len(sentences) < MIN_SENTENCES:
            sentence = self._sentence()
            have += len(sentence) + 1
            sentences.append(sentence)
        by_lines = self.numbers.random() < 0.2
        return ("\n" if by_lines else " ").join(sentences)

    def _sentence(self) -> str:
        words = list(self.sentences[self.numbers.integers(len(self.sentences))])
        return " ".join(self.replaced(words, share=REPLACED))

    def replaced(self, words: list[str], *, share: float) -> list[str]:
        """`words` with this share of them, at least one, replaced by others."""
        changed = list(words)
        many = max(1, round(share * len(words)))
        drawn = self.numbers.permutation(len(words))[:many]
        others = self.numbers.integers(len(self.words), size=many)
        for place, word in zip(drawn, others, strict=True):
            end = changed[place][-1]
            new = self.words[word]
            changed[place] = new + end if end in ".!?," else new
        return changed
