"""Turkish letters and words: casing that keeps dotted and dotless i apart, and keys of equal texts.

Python's ``str.lower`` turns ``İ`` into ``i`` + U+0307 and ``I`` into ``i``; Turkish wants ``i``
and ``ı``. Every part of the project that changes the case of Turkish text goes through here.
"""

import hashlib
import re

VOWELS = "aeıioöuü"
_WORD = re.compile(r"\w+")


def turkish_lower(text: str) -> str:
    """Return `text` in lower case by Turkish rules (``İ`` to ``i``, ``I`` to ``ı``)."""
    return text.replace("I\u0307", "i").replace("İ", "i").replace("I", "ı").lower()


def turkish_upper(text: str) -> str:
    """Return `text` in upper case by Turkish rules (``i`` to ``İ``, ``ı`` to ``I``)."""
    return text.replace("i", "İ").replace("ı", "I").upper()


def turkish_capitalize(text: str) -> str:
    """Return `text` with its first character in upper case; the rest is left as it is."""
    return turkish_upper(text[:1]) + text[1:]


def word_list(text: str) -> tuple[str, ...]:
    """Return the words of `text`: long word lists stay readable in the source."""
    return tuple(text.split())


def words(text: str) -> list[str]:
    """The words that comparisons see: lower-case by Turkish rules, no punctuation."""
    return _WORD.findall(turkish_lower(text))


def exact_key(text: str) -> int:
    """64 bits that are equal for texts which differ in case and white space only."""
    plain = " ".join(turkish_lower(text).split())
    return int.from_bytes(hashlib.blake2b(plain.encode(), digest_size=8).digest(), "little")
