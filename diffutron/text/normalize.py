"""Text as it was meant: one Unicode form, no invisible characters, no broken letters.

Every function is pure and does nothing to text that is already in order, so it may run twice.
"""

import re
import unicodedata

# Latin-1 read for ISO-8859-9: the six letters in which the two differ.
LATIN1_FOR_TURKISH = str.maketrans("þÞðÐýÝ", "şŞğĞıİ")
_BROKEN_LETTER = re.compile("[þÞðÐýÝ]")
_TURKISH_ONLY = re.compile("[şŞğĞıİ]")

_TWICE_ENCODED_LETTERS = "çğıöşüÇĞİÖŞÜâîûÂÎÛéè’‘“”–—…«»°"


def _twice_encoded() -> dict[str, str]:
    """What each letter becomes when its UTF-8 bytes are read as Windows-1252, and the letter."""
    table: dict[str, str] = {}
    for letter in _TWICE_ENCODED_LETTERS:
        wrong = "".join(
            bytes([byte]).decode("cp1252", errors="ignore") or chr(byte) for byte in letter.encode()
        )
        table[wrong] = letter
    return table


TWICE_ENCODED = _twice_encoded()
_TWICE = re.compile("|".join(map(re.escape, sorted(TWICE_ENCODED, key=len, reverse=True))))
_TWICE_LEAD = re.compile("[ÃÄÅÂâ]")

# Windows-1252 read for Latin-1: quotes, dashes and the like stand where Latin-1 has controls.
_WINDOWS = {
    byte: bytes([byte]).decode("cp1252")
    for byte in range(0x80, 0xA0)
    if byte not in (0x81, 0x85, 0x8D, 0x8F, 0x90, 0x9D)  # no letters; 0x85 is a line break
}

_LINE_BREAK = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_BLANK = re.compile("[\t\x1f\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufdd0-\ufdef\ufffe\uffff]")
# The zero-width joiner stays where it joins emoji, which would fall apart without it.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
    "|(?<![\u2600-\u27bf\ufe0f\U0001f000-\U0001faff])\u200d"
)
_DOTTED_I = re.compile("[iı]\u0307+")
_SPACES = re.compile(" {2,}")
_LINE_EDGES = re.compile(" *\n *")
_BLANK_LINES = re.compile("\n{3,}")


def repair_encoding(text: str) -> str:
    """Undo the classic accidents: UTF-8 encoded twice, punctuation of Windows read as controls, and
    Turkish read as Latin-1.

    The last is undone only where the text has two or more such letters and none of the six
    Turkish ones: an Icelandic name in a Turkish text is left alone.
    """
    if _TWICE_LEAD.search(text):
        text = _TWICE.sub(lambda match: TWICE_ENCODED[match.group()], text)
    text = text.translate(_WINDOWS)
    if len(_BROKEN_LETTER.findall(text)) >= 2 and not _TURKISH_ONLY.search(text):
        text = text.translate(LATIN1_FOR_TURKISH)
    return text


def normalize_letters(text: str) -> str:
    """NFC, repaired letters, no control or zero-width characters; spaces and lines as they are."""
    ascii_only = text.isascii()
    text = text if ascii_only else repair_encoding(text)
    text = _CONTROL.sub("", _BLANK.sub(" ", _LINE_BREAK.sub("\n", text)))
    if ascii_only:
        return text
    text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    # `İ`.lower() of most languages is i + U+0307, which NFC leaves in two. Without the dot the
    # letter may join a mark that followed, hence NFC once more.
    return unicodedata.normalize("NFC", _DOTTED_I.sub("i", text))


def normalize(text: str) -> str:
    """`normalize_letters`, single spaces, none at the edges of lines, at most one empty line."""
    text = _LINE_EDGES.sub("\n", _SPACES.sub(" ", normalize_letters(text)))
    return _BLANK_LINES.sub("\n\n", text).strip()
