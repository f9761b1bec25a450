"""Broken letters made whole: texts read in another encoding than their own, and HTML entities.

A character of UTF-8 is two to four bytes, and each of the encodings that Turkish meets shows a byte
as one character. They never show two bytes as the same character, so one table leads back from all
of them, and a text that was broken twice is repaired twice. Clean text stays as it is: a pair such
as `Ü’` could be a broken letter, too, and is taken for one only beside letters that are surely
broken.
"""

import re
import unicodedata
from html import unescape
from html.entities import html5

from diffutron.text.language import most_likely
from diffutron.text.turkish import turkish_lower

READ_AS = ("latin-1", "cp1252", "cp1254", "iso-8859-9")
SEVERAL = "several"


def _bytes_of_characters() -> dict[str, int]:
    """The byte that each character stands for, by any of the encodings."""
    table: dict[str, int] = {}
    for encoding in READ_AS:
        for byte in range(0x80, 0x100):
            character = bytes([byte]).decode(encoding, errors="ignore")
            if character and table.setdefault(character, byte) != byte:
                raise AssertionError(f"{character!r} stands for two bytes")
    return table


BYTE_OF = _bytes_of_characters()
_TO_LATIN1 = {ord(character): chr(byte) for character, byte in BYTE_OF.items()}


def _class(first: int, last: int) -> str:
    """A regular expression for the characters of a range of bytes."""
    return f"[{''.join(re.escape(one) for one, byte in BYTE_OF.items() if first <= byte <= last)}]"


_NEXT = _class(0x80, 0xBF)
# What closes or follows a word of clean text; `AMANHÃ”` may be a word in capitals and a quote.
_AFTER_WORDS = "‘’“”…–—•‹›«»°²³¹ªº™©®·\u00a0\u00ad\x85\x8b\x91-\x97\x99\x9b"
_CAPITAL = "[A-ZÀ-ÖØ-ÞĞİŞ]"
_SURE = re.compile(
    # A letter of Latin-1 (`Ã§`), not after capitals where the second half may end a word.
    f"Ã(?![{_AFTER_WORDS}]){_NEXT}|Ã{_NEXT}(?=[^\\W\\d_])|(?<=[a-zß-öø-ÿğış])Ã{_NEXT}"
    "|(?<!\\S)Ã[–\x96›\x9b»®]"
    # A sign of Latin-1 (`Â°`), or a space that is not broken.
    f"|(?<!{_CAPITAL})Â(?![«»\u00a0]){_class(0xA0, 0xBF)}|Â«(?=\\w)|(?<=[a-zß-öø-ÿğış\\d.!?…])Â»"
    "|(?<![A-ZÀ-ÖØ-ÞĞİŞ\\s])(?<!^)Â\u00a0"
    f"|Ä[Ÿ\x9fž\x9e±°]|Å[Ÿ\x9fž\x9e]"  # ğĞıİ, şŞ
    f"|Ì[‚†‡ˆ§\x82\x86\x87\x88]"  # marks of decomposed letters
    f"|â[€\x80](?:{_NEXT}|\ufffd|(?!{_NEXT}))"  # punctuation; the last byte of ” is often lost
    f"|â(?:„¢|‚¬|[ˆ‰Š‹ŒŽ˜š›œžŸ]{_NEXT})"  # signs
    f"|ï(?:»¿|¿½|¬{_class(0x80, 0x84)})"  # the byte order mark, a lost letter, ligatures
    f"|[ðğ][Ÿ\x9f]{_NEXT}{{2}}"  # emoji
)
_PERHAPS = re.compile(f"[ÂÃÄÅÌâïðğ](?:{_NEXT}|\ufffd)")  # quick to find, and in all of the above
_ANY = re.compile(
    f"[Â-ßĞİŞ]{_NEXT}|[à-ï]{_NEXT}{{2}}|[ð-ôğ]{_NEXT}{{3}}|â[€\x80](?:\ufffd|(?!{_NEXT}))|[ÄÅ]\ufffd"
)
_LOST_BYTE = {"Ä": "Ğ", "Å": "Ş", "â": "”"}  # of Turkish, with a byte that is no character
# Scripts and signs that stand in Turkish text; others come of clean text, as U+0712 of `Ü’`.
_LIKELY = re.compile(
    "[\u0080-\u017f\u0192\u02c0-\u036f\u0370-\u045f\u1e00-\u1eff\u2000-\u206f\u20a0-\u20cf"
    "\u2100-\u27bf\u2c60-\u2c7f\ufb00-\ufb06\ufeff\ufffd\U0001f000-\U0001faff]"
)


def repair_utf8(text: str) -> str:
    """`text` with the letters whose UTF-8 was read as one of `READ_AS`, once or several times."""
    while _PERHAPS.search(text) and _SURE.search(text):
        repaired = "\n".join(map(_repair_line, text.split("\n")))
        if repaired == text:
            break
        text = repaired
    return text


def read_as(text: str) -> str:
    """As which of `READ_AS` the broken letters of `text` were read; SEVERAL where none has all.

    Encodings differ in few characters. Of those that fit, the first of `READ_AS` is named.
    """
    lines = [line for line in text.split("\n") if _SURE.search(line)]
    broken = "".join(found for line in lines for found in _ANY.findall(line))
    broken = broken.replace("\ufffd", "")
    for encoding in READ_AS:
        try:
            broken.encode(encoding)
        except UnicodeError:
            continue
        return encoding
    return SEVERAL


def _repair_line(line: str) -> str:
    if not _SURE.search(line):
        return line
    try:
        return line.translate(_TO_LATIN1).encode("latin-1").decode("utf-8")
    except UnicodeError:  # clean letters stand beside the broken ones
        return _ANY.sub(_repair_character, line)


def _repair_character(match: re.Match[str]) -> str:
    found = match.group()
    try:
        meant = found.translate(_TO_LATIN1).encode("latin-1").decode("utf-8")
    except UnicodeError:
        return _LOST_BYTE.get(found[0], found) if not _is_whole(found) else found
    return meant if _LIKELY.match(meant) else found


def _is_whole(found: str) -> bool:
    """Whether no byte is missing; what does not decode then is no UTF-8."""
    return "\ufffd" not in found and found not in ("â€", "â\x80")


# Latin-1 read for ISO-8859-9 or Windows-1254: the six letters in which they differ.
_LATIN1_FOR_TURKISH = str.maketrans("þÞðÐýÝ", "şŞğĞıİ")
_BROKEN_LETTER = re.compile("[þÞðÐýÝ]")
_TURKISH_ONLY = re.compile("[şŞğĞıİ]")
_FOREIGN_LETTER = re.compile("[À-ɏ](?<![çÇöÖüÜâÂîÎûÛéþÞðÐýÝ])")  # as Icelandic and Czech have
_NOT_ICELANDIC = re.compile("[çÇüÜ]")
_CONSONANT_Y = re.compile("[aeiouöü]ý|ý[aeiouöü]", re.IGNORECASE)  # of Turkmen; ı is a vowel
_READ = 300  # characters that tell a language

# Windows-1252 read for Latin-1: quotes, dashes and the like stand where Latin-1 has controls.
_WINDOWS_PUNCTUATION = re.compile("[\x80-\x84\x86-\x9f]")  # 0x85 is a line break
_WINDOWS = {
    byte: character
    for byte in range(0x80, 0xA0)
    if byte != 0x85 and (character := bytes([byte]).decode("cp1252", errors="ignore"))
}


def repair_punctuation(text: str) -> str:
    """`text` with the punctuation of Windows that was read as Latin-1."""
    return text.translate(_WINDOWS) if _WINDOWS_PUNCTUATION.search(text) else text


def repair_latin1(text: str) -> str:
    """`text` with the Turkish letters that were read as Latin-1.

    Letters are only repaired where there are two or more of them and none of the six that Latin-1
    lacks, and where the text is Turkish with them: an Icelandic name in a Turkish text is left
    alone, and so are Icelandic, Turkmen and Czech.
    """
    first = _BROKEN_LETTER.search(text)
    if not first or _TURKISH_ONLY.search(text):
        return text
    broken = len(_BROKEN_LETTER.findall(text))
    if broken < 2 or len(_FOREIGN_LETTER.findall(text)) * 4 >= broken:
        return text
    if _NOT_ICELANDIC.search(text) and not _CONSONANT_Y.search(text):
        return text.translate(_LATIN1_FOR_TURKISH)
    part = text[max(0, first.start() - _READ // 3) :][:_READ]
    repaired = part.translate(_LATIN1_FOR_TURKISH)
    if part.isupper():  # little is known of capitals
        part, repaired = part.lower(), turkish_lower(repaired)
    language, confidence = most_likely(repaired)
    if language != "tr" or confidence < most_likely(part)[1]:
        return text
    return text.translate(_LATIN1_FOR_TURKISH)


_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_MARKUP = re.compile(r"<[A-Za-z!/][^<>]*>")
_HOLE = "\ue000"  # private use, where an entity stood
_CODE = re.compile(
    r"""&&|\|\||[=!]=|[-=]>|[{}]|\w\(\)|\w\(["'\ue000]|\w ?\+?= ?["'\ue000]|\breturn \ue000"""
)
_QUOTES = {('"', '"'), ("'", "'"), ("`", "`"), ("“", "”"), ("‘", "’")}


def unescape_entities(text: str) -> str:
    """`text` with the characters that HTML entities stand for, also where they were escaped twice.

    Entities stay in code and markup, and where a text speaks of them: in quotes of their own, or
    beside the very character.
    """
    if "&" not in text:
        return text
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if "&" in line and _ENTITY.search(line) and not _MARKUP.search(line):
            lines[number] = _unescape_line(line)
    return "\n".join(lines)


def _unescape_line(line: str) -> str:
    raw = _ENTITY.sub(_HOLE, line)
    code = bool(_CODE.search(raw))

    def meant(match: re.Match[str]) -> str:
        found = match.group()
        character = _character(found)
        before, after = line[match.start() - 1 : match.start()], line[match.end() : match.end() + 1]
        inside = character.isalpha() and (before.isalpha() or after.isalpha())
        beside = before in (";", "") or after in ("&", "")
        alone = not (before.isalnum() or after.isalnum())
        spoken_of = (before, after) in _QUOTES or (alone and not beside and character in raw)
        return found if spoken_of or (code and not inside) else character

    return _ENTITY.sub(meant, line)


def _character(entity: str) -> str:
    """What an entity stands for; itself where that is no text."""
    named = not entity.startswith("&#")
    character = html5.get(entity[1:], entity) if named else unescape(entity)
    if character not in ("\t", "\n", "\r") and any(
        one == "\ufffd" or unicodedata.category(one) in ("Cc", "Cn", "Co", "Cs")
        for one in character
    ):
        return entity
    return character or entity
