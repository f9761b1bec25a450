"""Text as evaluation items are compared: what a copy may lose on its way through the web is gone.

Case, diacritics, HTML entities, apostrophes, hyphens (also those at the ends of lines) and
punctuation make no difference.
"""

import html
import re
import unicodedata

JOINING = "'’‘‛ʼ`´′＇-‐‑"  # stands inside a word, and is often left out
CODEC = "cp1254"  # one byte per character of nearly every Turkish text
_LINE_END_HYPHEN = re.compile(r"[-‐‑\u00ad][ \t\r]*\n\s*")


class _Plain(dict[int, str]):
    """From a character to its plain small letters, or to a space where it is in no word."""

    def __missing__(self, code: int) -> str:
        letters = unicodedata.normalize("NFKD", chr(code)).casefold().replace("ı", "i")
        plain = "".join(letter for letter in letters if letter.isalnum())
        vanishes = chr(code) in JOINING or unicodedata.category(chr(code)) in ("Mn", "Me", "Cf")
        self[code] = plain or ("" if vanishes else " ")
        return self[code]


def _byte_table() -> tuple[bytes, bytes]:
    """The same for the bytes of CODEC: what each becomes, and those that vanish."""
    table, gone = bytearray(range(256)), bytearray()
    for byte in range(256):
        character = bytes([byte]).decode(CODEC, errors="ignore")
        if not character:
            continue
        plain = _PLAIN[ord(character)].encode(CODEC, errors="replace")
        if len(plain) > 1 or plain == b"?":  # `½` has no room for two letters, and `µ` no byte
            _PLAIN[ord(character)] = character
            plain = character.encode(CODEC)
        if plain:
            table[byte] = plain[0]
        else:
            gone.append(byte)
    return bytes(table), bytes(gone)


_PLAIN = _Plain()
_TABLE, _GONE = _byte_table()


def folded_words(text: str) -> list[str]:
    """The words of `text` in plain small letters: "Başvu-\\nru&#39;nun" is `basvurunun`."""
    if "&" in text:
        text = html.unescape(text)
    if "\n" in text:
        text = _LINE_END_HYPHEN.sub("", text)
    try:
        plain = text.encode(CODEC).translate(_TABLE, _GONE).decode(CODEC)
    except UnicodeEncodeError:  # much slower
        plain = text.translate(_PLAIN)
    return plain.split()
