"""What generated text looks like without a reference: valid words, variety, repetition, emptiness.

Pure functions of texts. A share over nothing (no word, no word pair) is None, not 0.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")  # letters, and a suffix after an apostrophe


def words(text: str) -> list[str]:
    """The words of a text as written; numbers and signs are none."""
    return WORD.findall(unicodedata.normalize("NFC", text))


def measures(
    texts: Sequence[str], *, is_word: Callable[[str], bool]
) -> dict[str, float | int | None]:
    """The generation measures of a set of texts.

    valid_words: share of words that `is_word` accepts. distinct_2: different word pairs by all word
    pairs, over the whole set (Li et al. 2016). repetition: share of a text's word pairs that stood
    in it before, pooled over texts. empty: share of texts without any character but white space.
    """
    spoken = [words(text) for text in texts]
    known = {word: is_word(word) for word in set().union(*spoken)}
    pairs = [list(pairwise(one)) for one in spoken]
    num_words, num_pairs = sum(map(len, spoken)), sum(map(len, pairs))
    distinct = len(set().union(*pairs))
    within = sum(len(set(one)) for one in pairs)
    return {
        "n": len(texts),
        "words": num_words,
        "valid_words": _share(sum(known[word] for one in spoken for word in one), num_words),
        "distinct_2": _share(distinct, num_pairs),
        "repetition": _share(num_pairs - within, num_pairs),
        "empty": _share(sum(not text.strip() for text in texts), len(texts)),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def normalized_answer(text: str) -> str:
    """The form in which answers are compared: NFC, each run of white space one space, none around.

    Letters, case and signs count, so an answer that is right in other words is not exact.
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def constant_share(answers: Iterable[str]) -> float:
    """Share of the most frequent of these answers: what always giving it would score on them."""
    counts = Counter(map(normalized_answer, answers))
    return max(counts.values()) / counts.total()


def listed_words(path: Path) -> Callable[[str], bool]:
    """`is_word` by a word list (one a line): a word counts as written or with a small first letter.

    For real text, where no grammar is at hand: a right word that training never held counts as
    wrong, and a misspelt one that it held as right.
    """
    from diffutron.text.turkish import turkish_lower

    known = set(path.read_text(encoding="utf-8").split("\n"))
    lower = {turkish_lower(word) for word in known}
    return lambda word: word in known or turkish_lower(word) in lower
