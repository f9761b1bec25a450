"""Personal data in running text, replaced by typed placeholders and counted.

Numbers that carry a checksum (identity number, IBAN, card) are replaced only where it holds, so
that a population figure is not taken for a person.
"""

import re
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address

_AT = r"(?: [@＠] |[@＠] ?| ?[\[({<] ?(?:at|et|@|kuyruklu a) ?[\])}>] ?)"
_DOT = r"(?:\.| ?[\[({<] ?(?:dot|nokta|\.) ?[\])}>] ?)"
_COMMON_END = r"(?:com|net|org|edu|gov|info|biz|io|co|tr|de|eu)(?![\w-])"
_NAME, _HOST, _END = r"[\w.+%-]{1,64}", r"[\w-]{1,63}", r"[^\W\d_]{2,24}(?![\w-])"
_EMAIL = re.compile(
    rf"(?<![\w.+-]){_NAME}@(?:{_HOST}\.){{1,5}}{_END}"
    rf"|(?<![\w.+-]){_NAME}{_AT}(?:{_HOST}{_DOT}){{1,5}}{_END}"
    rf"|(?<![\w.+-])[\w+%-]{{1,64}}(?:\.[\w+%-]{{1,64}})*(?:"
    rf"(?: [ae]t |{_AT})(?:{_HOST} (?:dot|nokta) ){{1,4}}|[\[(]a[\])](?:{_HOST}\.){{1,4}}"
    rf"| [@＠] (?:{_HOST} \. ){{1,4}}| at (?:gmail|hotmail|outlook|yahoo|yandex|icloud)\."
    rf"){_COMMON_END}",
    re.IGNORECASE,
)
# A number may follow dots, a dash or a slash, where those do not make it a part of another one.
_STARTS, _ENDS = r"(?<![\w+])(?<!\d[.,/:-])", r"(?!\w|[.,]\d|-\d)"
_BLANK = r" \u00a0\u2009\u202f"
_SEP = rf"[{_BLANK}.·/_‐‑–-]{{0,3}}"  # between groups of figures
_ONE_SEP = rf"(?: - |  |[{_BLANK}.·/_-])"  # the same between all groups
_UNITS = r"(?! ?(?:TL|lira|₺|dolar|euro|avro|adet|kişi|ton|oy)\b)"
_IBAN = re.compile(
    rf"(?:(?<![^\W_])|(?<=(?i:IBAN)))(?:(?i:TR):?(?:{_SEP}\d){{24}}"
    r"|[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?)(?!\w)"
)
_CARD_SEP = rf"(?: - |  |[{_BLANK}/_-])?"
_CARD = re.compile(  # prefixes of the issuers; a row of four-digit figures is a table
    rf"(?:{_STARTS}|(?<=(?i:kart)))(?<!\d{{4}} )"
    r"(?:4\d{3}|5[0-8]\d{2}|2[2-7]\d{2}|3[4-7]\d{2}|6\d{3}|9792)"
    rf"(?:{_CARD_SEP}\d{{4}}{_CARD_SEP}\d{{4}}{_CARD_SEP}\d{{1,7}}|(?:\.\d{{4}}){{3}}"
    rf"|{_CARD_SEP}\d{{6}}{_CARD_SEP}\d{{4,6}}|\d{{2}}{_CARD_SEP}\d{{10}})"
    rf"{_ENDS}(?! {{1,2}}\d{{4}}(?!\d))"
)
_IDENTITY = re.compile(
    rf"(?:{_STARTS}|(?<=(?i:tc))|(?<=(?i:kn))|(?<=(?i:no))|(?<=(?<!\d)_))"
    r"(?:[1-9]\d{10}|[1-9]\d{2}([ .-])\d{3}\1\d{3}\1\d{2}|[1-9]\d{2} \d{2} \d{3} \d{3}"
    r"|[1-9]([ .-])\d(?:\2\d){9}"
    rf"|(?<!\d )(?<!\d - )[1-9]\d{{1,5}}({_ONE_SEP})\d{{2,6}}(?:\3\d{{2,6}}){{0,3}}(?!\3\d){_UNITS}"
    rf"){_ENDS}"
)
# Ten digits are often something else, so that a tax number is one where it is called so.
_TAX_FIGURES = rf"\d(?:{_SEP}\d){{9}}"
_TAX = re.compile(
    r"(?P<before>(?:\bvergi\D{0,20}(?:no|numara|kimlik|daire|sicil)|\bv\. ?k\. ?n|\bvkn"
    rf"|\bv\.? ?no|\bv\.? ?d\b|\btax (?:id|no))\D{{0,25}}){_TAX_FIGURES}{_ENDS}"
    rf"|{_STARTS}{_TAX_FIGURES}(?=[\s\"')(]{{1,3}}"
    r"(?:vergi (?:no|numara|kimlik|sicil)|v\. ?k\. ?n|vkn))",
    re.IGNORECASE,
)
_OCTET = r"\d{1,3}"
_HIDDEN_DOT = re.compile(r"[\[({](?:\.|dot|nokta)[\])}]")  # 85[.]96[.]12[.]7
_IP = re.compile(
    rf"\d(?:(?<![\w.].)|(?<=(?i:\bip).))\d{{0,2}}(?:(?:\.|{_HIDDEN_DOT.pattern}){_OCTET}){{3}}"
    rf"(?!\w|\.\d){_UNITS}"
)
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{1,4}(?![\w:])", re.IGNORECASE)
# Seven figures after the code of a place or an operator: as they mostly stand, and in any groups.
_LAST = rf"{_SEP}\d{{3}}{_SEP}\d{{2}}{_SEP}\d{{2}}"
_SEVEN = (
    rf"{_SEP}(?:\d{{3}}{_SEP}\d{{2}}{_SEP}\d{{2}}|\d{{2}}{_SEP}\d{{3}}{_SEP}\d{{2}}"
    rf"|\d{{2}}{_SEP}\d{{2}}{_SEP}\d{{3}}|\d{_SEP}\d{{3}}{_SEP}\d{{3}})"
)
_OPERATOR = r"(?:0[15-7]|1[06]|[34]\d|5[1-9]|61)"
_MOBILE = f"5{_OPERATOR}"
_RANGE = r"(?: ?[-/–] ?(?:\d{3} )?(?:\d{2} )?\d{1,2}(?!\d)){0,3}"  # 555 12 34-35
# With country code or trunk zero: bare ten-digit numbers are more often something else, but for
# those with the code of an operator.
_PHONE = re.compile(
    rf"(?:{_STARTS}|(?<=(?i:tel|gsm|cep)))(?:"
    rf"\(?(?:\+ ?|00)90\)?{_SEP}(?:\(0\)|0)?{_SEP}\(?[2-58]\d{{2}}\)?{_SEVEN}"
    rf"|90{_SEP}\(?{_MOBILE}\)?{_SEVEN}"
    rf"|[(\[]?0(?:[/_-]|\.(?=\d{{3}}\D))?\(?[2-58]\d{{2}}[)\]]?{_SEVEN}"
    rf"|\(?0 \(?[2-58]\d{{2}}\)?{_SEVEN}(?! [1-9]\d{{2,4}}(?!\d))"  # no row of a table
    rf"|05[ ./-]{_OPERATOR}{_LAST}|0[ -]5\d(?:[ -]\d\d){{4}}(?![ -]\d)"
    rf"|\(?[2-5]\d{{2}}\){_LAST}"
    rf"|(?<!\d )(?<!ISBN )(?<!ISBN: ){_MOBILE}(?:{_LAST}){_UNITS}(?! ?\d)"
    r"|(?:0|\+90) [2-5](?: {1,2}\d){9}(?! ?\d)"
    r"|\+(?!90)[1-9]\d{0,2}[ .-]?(?:\(0\) ?)?\(?\d{2,4}\)?(?:[ .-]?\d{2,4}){2,4}"
    rf"){_RANGE}{_ENDS}"
)
_CALLED_PHONE = re.compile(  # a place without the trunk zero
    r"(?P<before>\b(?:tel|telefon|faks|fax|gsm|cep)(?: no)?\b[^\w\n]{0,4})"
    rf"[2-5]\d{{2}}{_LAST}{_RANGE}{_ENDS}",
    re.IGNORECASE,
)
# Province, one to three letters of the plates' alphabet, and as many figures as go with them:
# https://tr.wikipedia.org/wiki/T%C3%BCrkiye_plaka_kodlar%C4%B1
_PROVINCE, _LETTER = r"(?:0[1-9]|[1-7]\d|8[01])", r"[A-PR-VYZ]"
_PLATE = re.compile(  # one letter alone is most often a unit, and so are small letters
    rf"{_STARTS}(?<!\d ){_PROVINCE}(?P<gap>[ -]?)"
    rf"(?:{_LETTER}{{2}}(?P=gap)\d{{3,4}}|{_LETTER}{{3}}(?P=gap)\d{{2,3}}){_ENDS}(?! \d)"
)
_GAP = r"[ .-]{0,3}"
_ANY_PLATE = (
    rf"{_PROVINCE}{_GAP}(?:{_LETTER}{_GAP}\d{{4,5}}"
    rf"|{_LETTER}{{2}}{_GAP}\d{{3,4}}|{_LETTER}{{3}}{_GAP}\d{{2,3}})"
)
_CALLED_PLATE = re.compile(
    rf"(?P<before>\bplaka[^\d\n]{{0,30}}(?<!\d)){_ANY_PLATE}{_ENDS}"
    rf"|{_STARTS}{_ANY_PLATE}(?=[\s\"'’)]{{0,3}}(?:\w{{1,15}} )?plaka)",
    re.IGNORECASE,
)
_WORDS = re.compile("VE|YA|DE|DA|DEN|DAN|İLE|ILE|BİN|BIN|YIL|İL|IL")
_MEASURES = re.compile(
    "KM|CM|MM|DM|KG|GR|MG|LT|ML|CL|DK|SN|SA|AY|OY|EV|TL|HA|AD|NO|KW|MW|HP|KV|VA|HZ|GB|MB|KB|TB"
    "|TON|KAT|BAR|PSI|RPM|DPI|MHZ|GHZ|KWH|KVA|BIT|MAH|USD|EUR|TRY|GBP|CHF|JPY"
    "|OCA|MAR|NIS|MAY|HAZ|TEM|EYL|EKI|KAS|ARA|JAN|FEB|APR|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
)
# What a text without personal data mostly lacks; quick to look for.
_FIGURES = re.compile(r"\d(?:\d{3}|[\] \u00a0\u2009\u202f._(){}\[·/–-]+\d|[\[({](?:dot|nokta))")
_LONG = re.compile(r"\d(?:[\W_]{0,4}\d){8}")  # only addresses and plates have fewer
_COLONS = re.compile(r":[0-9a-fA-F]*:")
_AT_IN_WORDS = re.compile(r"[\[({<] ?(?:at|et|kuyruklu a|a) ?[\])}>]", re.IGNORECASE)
_AT_SIGNS = ("@", "＠", " dot ", " DOT ", " nokta ", " NOKTA ", " at ", " AT ")


def identity_number_holds(number: str) -> bool:
    """The two check digits of a Turkish identity number."""
    digits = [int(digit) for digit in number if digit.isdigit()]
    if len(digits) != 11:
        return False
    odd, even = sum(digits[0:9:2]), sum(digits[1:8:2])
    return digits[9] == (7 * odd - even) % 10 and digits[10] == sum(digits[:10]) % 10


def tax_number_holds(text: str) -> bool:
    """The check digit of a Turkish tax number, the last of its ten digits."""
    *digits, check = [int(character) for character in text if character.isdigit()]
    total = 0
    for place, digit in enumerate(digits):
        moved = (digit + 9 - place) % 10
        total += (moved * 2 ** (9 - place)) % 9 or (9 if moved else 0)
    return -total % 10 == check


def iban_holds(text: str) -> bool:
    """ISO 13616: the country first moved to the end, letters as numbers, modulo 97 is 1."""
    iban = re.sub(r"[\W_]", "", text).upper()
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
    """An address of a machine, not a version number such as 1.2.3.4 or a loop-back, nor names with
    colons between them (`Abc::Add`)."""
    text = _HIDDEN_DOT.sub(".", text)
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if address.version == 4 and max(map(int, text.split("."))) < 20:
        return False
    groups = [group for group in text.split(":") if group]
    if address.version == 6 and (len(groups) < 3 and len(groups[0]) < 4):
        return False
    if address.version == 6 and not any(map(str.isdigit, text)):
        return False
    return not (address.is_loopback or address.is_unspecified)


def is_plate(text: str) -> bool:
    """A licence plate by itself: no measure and no month between two numbers (`34 KM 120`)."""
    return may_be_plate(text) and not _MEASURES.fullmatch(_letters(text))


def may_be_plate(text: str) -> bool:
    """No word between two numbers (`34 ve 120`); a text that calls it a plate says the rest."""
    return not _WORDS.fullmatch(_letters(text))


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, text)).upper()


Rule = tuple[str, str, re.Pattern[str], Callable[[str], bool]]
_EMAIL_RULES: tuple[Rule, ...] = (("email", "[E-POSTA]", _EMAIL, lambda text: True),)
_NUMBER_RULES: tuple[Rule, ...] = (
    ("iban", "[IBAN]", _IBAN, iban_holds),
    ("card", "[KART]", _CARD, luhn_holds),
    ("tax_number", "[VERGİ NO]", _TAX, tax_number_holds),
    ("phone", "[TELEFON]", _PHONE, lambda text: True),
    ("phone", "[TELEFON]", _CALLED_PHONE, lambda text: True),
    ("identity_number", "[KİMLİK]", _IDENTITY, identity_number_holds),
)
_ADDRESS_RULES: tuple[Rule, ...] = (
    ("ip", "[IP]", _IP, is_address),
    ("ip", "[IP]", _IPV6, is_address),
)
_PLATE_RULES: tuple[Rule, ...] = (
    ("plate", "[PLAKA]", _CALLED_PLATE, may_be_plate),
    ("plate", "[PLAKA]", _PLATE, is_plate),
)
_RULES = (*_EMAIL_RULES, *_NUMBER_RULES, *_ADDRESS_RULES)
KINDS = tuple(dict.fromkeys(kind for kind, *_ in _RULES))
PLATE = "plate"  # the kind that is looked for only where it is asked for
PLACEHOLDERS = tuple(dict.fromkeys(placeholder for _, placeholder, *_ in (*_RULES, *_PLATE_RULES)))


def by_kind(found: Counter[str], *, plates: bool) -> dict[str, int]:
    """How often each kind was found; what was not looked for is left out."""
    return {kind: found[kind] for kind in (*KINDS, *((PLATE,) if plates else ()))}


def replace_personal_data(text: str, *, plates: bool = False) -> tuple[str, Counter[str]]:
    """`text` with a placeholder for each piece of personal data, and how many of each kind.

    plates: replace the licence plates of Turkey too.
    """
    found: Counter[str] = Counter()
    mail = any(map(text.__contains__, _AT_SIGNS)) or _AT_IN_WORDS.search(text)
    figures = _FIGURES.search(text)
    rules = [
        *(_EMAIL_RULES if mail else ()),
        *(_NUMBER_RULES if figures and _LONG.search(text) else ()),
        *(_ADDRESS_RULES if figures or _COLONS.search(text) else ()),
        *(_PLATE_RULES if plates else ()),
    ]
    for kind, placeholder, pattern, holds in rules:

        def put(match: re.Match[str], kind=kind, placeholder=placeholder, holds=holds) -> str:
            before = match.groupdict().get("before") or ""
            if not holds(match.group()[len(before) :]):
                return match.group()
            found[kind] += 1
            return before + placeholder

        text = pattern.sub(put, text)
        if kind == "phone" and found[kind]:  # one may follow another after a dash or a slash
            text = pattern.sub(put, text)
    return text, found
