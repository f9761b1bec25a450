"""Turkish letters: casing that keeps dotted and dotless i apart, and vowel classes.

Python's ``str.lower`` turns ``İ`` into ``i`` + U+0307 and ``I`` into ``i``; Turkish wants ``i``
and ``ı``. Every part of the project that changes the case of Turkish text goes through here.
"""

VOWELS = "aeıioöuü"


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
