"""Text as it was meant: one Unicode form, no invisible characters, no broken letters.

Every function is pure and does nothing to text that is already in order, so it may run twice.
"""

import re
import unicodedata

from diffutron.text.repair import (
    READ_AS,
    SEVERAL,
    read_as,
    repair_latin1,
    repair_punctuation,
    repair_utf8,
    unescape_entities,
)

REPAIRS = {
    **{f"utf8_as_{name}": f"UTF-8 read as {name}" for name in READ_AS},
    f"utf8_as_{SEVERAL}": "UTF-8 read as several of them",
    "turkish_as_latin-1": "Turkish letters read as latin-1",
    "windows_as_latin-1": "punctuation of Windows read as latin-1",
    "entities": "HTML entities",
    "control": "control characters",
    "invisible": "zero-width and direction characters",
    "white_space": "unusual spaces and line breaks",
    "decomposed": "letters and marks apart, or another Unicode form",
}
"""What `normalize_letters` repairs: a name for each kind, and words for it."""

_LINE_BREAK = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_BLANK = re.compile("[\t\x1f\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufdd0-\ufdef\ufffe\uffff]")
# The zero-width joiner stays where it joins emoji, which would fall apart without it.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
    "|(?<![\u2600-\u27bf\ufe0f\U0001f000-\U0001faff])\u200d"
)
_ANY_OF_THEM = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\xa0\u00ad\u034f\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f"
    "\u205f-\u206f\u3000\ufdd0-\ufdef\ufeff\ufffe\uffff]"
)
_DOTTED_I = re.compile("[iı]\u0307+")
_SPACES = re.compile(" {2,}")
_LINE_EDGES = re.compile(" *\n *")
_BLANK_LINES = re.compile("\n{3,}")


def repaired(kind: str) -> str:
    """By what the texts are counted that a kind of REPAIRS changed."""
    return f"repaired {kind}"


def normalize_letters(text: str, kinds: set[str] | None = None) -> str:
    """NFC, repaired letters, no control or zero-width characters; spaces and lines as they are.

    kinds: gets the name of each kind of REPAIRS that was needed.
    """
    kinds = set() if kinds is None else kinds
    # What one step takes out may have stood inside a letter that another step repairs.
    while (found := _normalize_once(text, kinds)) != text:
        text = found
    return text


def _normalize_once(text: str, kinds: set[str]) -> str:
    if "&" in text:
        text = _noted(unescape_entities(text), text, "entities", kinds)
    if not text.isascii():
        if (repaired := repair_utf8(text)) != text:
            kinds.add(f"utf8_as_{read_as(text)}")
            text = repaired
        text = _noted(repair_punctuation(text), text, "windows_as_latin-1", kinds)
        text = _noted(repair_latin1(text), text, "turkish_as_latin-1", kinds)
    if _ANY_OF_THEM.search(text):
        text = _noted(_LINE_BREAK.sub("\n", text), text, "white_space", kinds)
        text = _noted(_BLANK.sub(" ", text), text, "white_space", kinds)
        text = _noted(_CONTROL.sub("", text), text, "control", kinds)
        text = _noted(_INVISIBLE.sub("", text), text, "invisible", kinds)
    return text if text.isascii() else _noted(_composed(text), text, "decomposed", kinds)


def _noted(after: str, before: str, kind: str, kinds: set[str]) -> str:
    """`after`, with its kind noted where that is another text."""
    if after != before:
        kinds.add(kind)
    return after


def _composed(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    # `İ`.lower() of most languages is i + U+0307, which NFC leaves in two. Without the dot the
    # letter may join a mark that followed, hence NFC once more.
    if "\u0307" in text:
        text = unicodedata.normalize("NFC", _DOTTED_I.sub("i", text))
    return text


def normalize(text: str, kinds: set[str] | None = None) -> str:
    """`normalize_letters`, single spaces, none at the edges of lines, at most one empty line."""
    while (found := _tidy_spaces(normalize_letters(text, kinds))) != text:
        text = found
    return text


def _tidy_spaces(text: str) -> str:
    if "  " in text:
        text = _SPACES.sub(" ", text)
    if " \n" in text or "\n " in text:
        text = _LINE_EDGES.sub("\n", text)
    if "\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n", text)
    return text.strip()
