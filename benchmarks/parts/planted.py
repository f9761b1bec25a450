"""What is hidden in the text of the benchmark, by kind, so that finding it can be counted."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from benchmarks.parts.recombine import Recombiner
from diffutron.data.evaluation_sets.findable import as_document
from diffutron.text.privacy import (
    KINDS,
    iban_holds,
    identity_number_holds,
    luhn_holds,
    tax_number_holds,
)
from diffutron.text.turkish import turkish_lower, turkish_upper

NEAR_WORDS = 40  # words of a document whose near copies must be found
NEAR_CHANGED = 0.05
EXAM_WORDS = 20  # of an item that must be found
EXAM_CHANGED = 0.1
EXAM_HOST = 300  # characters around an item
BOILERPLATE = (
    "Bu sitede yer alan bütün yazıların hakları yazarlarına aittir",
    "Yorum yapmak için üye girişi yapmanız gerekmektedir",
    "Haberin devamını okumak için bültenimize abone olabilirsiniz",
)
PLACEHOLDER = dict(
    zip(
        ("email", "iban", "card", "phone", "identity_number", "tax_number", "ip"),
        ("[E-POSTA]", "[IBAN]", "[KART]", "[TELEFON]", "[KİMLİK]", "[VERGİ NO]", "[IP]"),
        strict=True,
    )
)


@dataclass
class Plant:
    """A planted document: its text, its kind, and what must be gone or resembled.

    `original` is the document that a copy was made of, `secret` the personal data in it.
    """

    kind: str
    text: str
    original: int = -1
    secret: str = ""
    source: str | None = None  # where it must stand; None: anywhere
    meta: dict = field(default_factory=dict)


def digits(numbers: Random, many: int) -> str:
    return "".join(str(numbers.randint(0, 9)) for _ in range(many))


def identity_number(numbers: Random) -> str:
    nine = str(numbers.randint(1, 9)) + digits(numbers, 8)
    return next(n for last in range(100) if identity_number_holds(n := f"{nine}{last:02d}"))


def iban(numbers: Random) -> str:
    rest = digits(numbers, 22)
    return next(text for check in range(2, 99) if iban_holds(text := f"TR{check:02d}{rest}"))


def card(numbers: Random) -> str:
    body = numbers.choice(["4", "52", "979200"])
    body += digits(numbers, 15 - len(body))
    return next(text for last in range(10) if luhn_holds(text := f"{body}{last}"))


def grouped(text: str, by: str) -> str:
    return by.join(text[start : start + 4] for start in range(0, len(text), 4))


def personal_data(kind: str, numbers: Random) -> list[str]:
    """Five forms of one kind."""
    if kind == "email":
        name, place = f"ayse{digits(numbers, 3)}", f"ornek{digits(numbers, 2)}"
        return [
            f"{name}@{place}.com",
            f"{name}.yilmaz@{place}.com.tr",
            f"{name}_k@mail.{place}.org",
            f"{name}+haber@{place}.net",
            f"{name.upper()}@{place.upper()}.EDU.TR",
        ]
    if kind == "phone":
        area, a, b, c = numbers.choice(["212", "312", "532", "555"]), *_phone(numbers)
        return [
            f"0{area} {a} {b} {c}",
            f"+90 {area} {a} {b} {c}",
            f"0 ({area}) {a} {b} {c}",
            f"0{area}{a}{b}{c}",
            f"(0{area}) {a}-{b}-{c}",
        ]
    if kind == "identity_number":
        one = identity_number(numbers)
        return [one, f"({one})", f"{one},", f'"{one}"', f"TC:{one}"]
    if kind == "iban":
        one = iban(numbers)
        return [one, grouped(one, " "), one.lower(), grouped(one, "-"), f"({one})"]
    if kind == "card":
        one = card(numbers)
        return [one, grouped(one, " "), grouped(one, "-"), f"({one})", f"no:{one}"]
    if kind == "tax_number":
        nine = digits(numbers, 9)
        one = next(text for last in range(10) if tax_number_holds(text := f"{nine}{last}"))
        names = ("VKN ", "VKN: ", "V.K.N. ", "vergi no: ", "Vergi Kimlik Numarası ")
        return [f"{name}{one}" for name in names]
    first = numbers.randint(20, 223)
    rest = [numbers.randint(0, 255) for _ in range(3)]
    one = ".".join(map(str, [first, *rest]))
    wide = f"2001:db8:{numbers.randint(1, 9999):x}::{numbers.randint(1, 65535):x}"
    return [one, f"({one})", f"{one}:8080", f"http://{one}/", wide]


def _phone(numbers: Random) -> tuple[str, str, str]:
    return str(numbers.randint(200, 999)), digits(numbers, 2), digits(numbers, 2)


def secrets(numbers: Random, each: int) -> Iterator[tuple[str, str]]:
    """`each` pieces of personal data of every form of every kind."""
    for kind in KINDS:
        for _ in range(each):
            for text in personal_data(kind, numbers):
                yield kind, text


def exam_texts(sets: list) -> list[str]:
    """Whole items of the evaluation sets, long enough that they must be found."""
    found = []
    for one in sets:
        for row in one.rows:
            text = as_document(row, one.task)
            if len(text.split()) >= EXAM_WORDS:
                found.append(text)
    return found


def other_casing(text: str, numbers: Random) -> str:
    """Capitals or small letters by Turkish rules, and other punctuation."""
    text = numbers.choice([turkish_upper, turkish_lower])(text)
    marks = str.maketrans({".": "!", ",": ";", "?": "...", ":": " -"})
    return text.translate(marks)


def exam_plants(texts: list[str], source: Recombiner, numbers: Random) -> Iterator[Plant]:
    """Each text in one of three forms, in the middle of other text."""
    forms = {
        "exam_verbatim": lambda text: text,
        "exam_casing": lambda text: other_casing(text, numbers),
        "exam_changed": lambda text: " ".join(source.replaced(text.split(), share=EXAM_CHANGED)),
    }
    for text in texts:
        for kind, changed in forms.items():
            before = source.document(most=EXAM_HOST // 2)
            after = source.document(most=EXAM_HOST // 2)
            yield Plant(kind, f"{before} {changed(text)} {after}")
