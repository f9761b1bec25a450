"""Personal data in running text, replaced by typed placeholders and counted.

Numbers that carry a checksum (identity number, IBAN, card) are replaced only where it holds, so
that a population figure is not taken for a person.
"""

import re
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,5}[^\W\d_]{2,24}(?![\w-])")
_IBAN = re.compile(
    r"(?<!\w)(?:(?i:TR)\d{2}(?:[ -]?\d{4}){5}[ -]?\d{2}"
    r"|[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?)(?!\w)"
)
_CARD = re.compile(  # prefixes of the issuers; a row of four-digit figures is a table
    r"(?<![\w.,-])(?<!\d{4} )(?:4\d{3}|5[0-8]\d{2}|2[2-7]\d{2}|3[4-7]\d{2}|6\d{3}|9792)"
    r"(?:[ -]?\d{4}[ -]?\d{4}[ -]?\d{1,7}|[ -]?\d{6}[ -]?\d{4,5})"
    r"(?![\w-]|[.,]\d| \d{4}(?!\d))"
)
_IDENTITY = re.compile(r"(?<![\w.,-])[1-9]\d{10}(?![\w-]|[.,]\d)")
_IP = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{1,4}(?![\w:])", re.IGNORECASE)
# With country code or trunk zero: bare ten-digit numbers are more often something else.
_PHONE = re.compile(
    r"(?<![\w.,+/-])(?:"
    r"(?:\+|00)90[ .-]?\(?[2-5]\d{2}\)?[ .-]?\d{3}[ .-]?\d{2}[ .-]?\d{2}"
    r"|\(?0[ .-]?\(?[2-5]\d{2}\)?[ ./-]{0,3}\d{3}[ .-]?\d{2}[ .-]?\d{2}"
    r"|\(?[2-5]\d{2}\) ?\d{3}[ .-]?\d{2}[ .-]?\d{2}"
    r"|5\d{2}[ .-]\d{3}[ .-]\d{2}[ .-]\d{2}"
    r"|\+(?!90)[1-9]\d{0,2}[ .-]?\(?\d{2,4}\)?(?:[ .-]?\d{2,4}){2,4}"
    r")(?![\w-]|[.,]\d)"
)
_HINT = re.compile(r"@|\d{4}|\d[ .)-]+\d|:[0-9a-f]*:", re.IGNORECASE)


def identity_number_holds(number: str) -> bool:
    """The two check digits of a Turkish identity number."""
    digits = [int(digit) for digit in number]
    odd, even = sum(digits[0:9:2]), sum(digits[1:8:2])
    return digits[9] == (7 * odd - even) % 10 and digits[10] == sum(digits[:10]) % 10


def iban_holds(text: str) -> bool:
    """ISO 13616: the country first moved to the end, letters as numbers, modulo 97 is 1."""
    iban = re.sub(r"[ -]", "", text).upper()
    if iban.startswith("TR") and len(iban) != 26:
        return False
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1


def luhn_holds(text: str) -> bool:
    """ISO/IEC 7812: every second digit from the right doubled; 13 to 19 digits, not all alike."""
    digits = [int(character) for character in reversed(text) if character.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[0::2]) + sum(doubled)) % 10 == 0


def is_address(text: str) -> bool:
    """An address of a machine, not a version number such as 1.2.3.4 or a loop-back."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if address.version == 4 and max(map(int, text.split("."))) < 20:
        return False
    return not (address.is_loopback or address.is_unspecified)


_RULES: tuple[tuple[str, str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("email", "[E-POSTA]", _EMAIL, lambda text: True),
    ("iban", "[IBAN]", _IBAN, iban_holds),
    ("card", "[KART]", _CARD, luhn_holds),
    ("phone", "[TELEFON]", _PHONE, lambda text: True),
    ("identity_number", "[KİMLİK]", _IDENTITY, identity_number_holds),
    ("ip", "[IP]", _IP, is_address),
    ("ip", "[IP]", _IPV6, is_address),
)
KINDS = tuple(dict.fromkeys(kind for kind, *_ in _RULES))
PLACEHOLDERS = tuple(dict.fromkeys(placeholder for _, placeholder, *_ in _RULES))


def replace_personal_data(text: str) -> tuple[str, Counter[str]]:
    """`text` with a placeholder for each piece of personal data, and how many of each kind."""
    found: Counter[str] = Counter()
    if not _HINT.search(text):
        return text, found
    for kind, placeholder, pattern, holds in _RULES:

        def put(match: re.Match[str], kind=kind, placeholder=placeholder, holds=holds) -> str:
            if not holds(match.group()):
                return match.group()
            found[kind] += 1
            return placeholder

        text = pattern.sub(put, text)
    return text, found
