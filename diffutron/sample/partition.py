"""Who may use a sentence: training, evaluation or the essays, decided by its content words alone.

The side is a hash of the sorted content words, so it depends neither on a seed nor on word order:
a sentence that an evaluation set may use is never written into training, whatever is generated
first, and neither is the same sentence with its words moved.
"""

import re
from functools import lru_cache
from zlib import crc32

from diffutron.sample.material import material
from diffutron.text.turkish import turkish_lower, word_list

TRAINING, EVALUATION, ESSAY = "training", "evaluation", "essay"

FUNCTION_WORDS = frozenset(word_list(material("words")["function_words"]))

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


def words(text: str) -> list[str]:
    """Return the words of `text` in Turkish lower case; an apostrophe stays inside its word."""
    return _WORD.findall(turkish_lower(text.replace("\u2019", "'")))


def content_words(text: str) -> frozenset[str]:
    """Return the words of `text` that are not function words."""
    return frozenset(words(text)) - FUNCTION_WORDS


def told_in_text(question: str) -> bool:
    """Return whether running text may ask and answer `question`; instructions ask the others."""
    return crc32(question.encode()) % 6 == 0


@lru_cache(maxsize=1 << 18)
def side(sentence: str) -> str:
    """Return TRAINING, EVALUATION or ESSAY for a sentence (66, 25 and 9 of a hundred)."""
    bucket = crc32(" ".join(sorted(content_words(sentence))).encode()) % 100
    if bucket < 66:
        return TRAINING
    return EVALUATION if bucket < 91 else ESSAY
