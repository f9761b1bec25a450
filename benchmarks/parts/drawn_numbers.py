"""Numbers of persons in groups that nobody chose, and figures of other kinds, drawn by a seed."""

from collections.abc import Callable
from random import Random

from diffutron.text.privacy import tax_number_holds
from tests.support.personal_data import card, iban, identity_number

BETWEEN = (" ", "-", ".", "/", " - ", "  ")
GROUPS = {
    "phone": ("3322", "334", "37", "3232", "343", "3223", "3133", "x"),
    "identity_number": ("3332", "56", "443", "344", "2333", "3233", "65", "x"),
    "tax_number": ("334", "55", "3322", "244", "433", "x"),
    "iban": ("4444442", "24444444", "4x", "45x", "2x", "x"),
    "card": ("4444", "466", "88", "6x", "x"),
}
BEFORE = {
    "phone": ("0", "0 ", "(0", "+90", "+90 ", "0090 ", "Tel: 0", "cep +90 "),
    "identity_number": ("", "TC ", "T.C. Kimlik No: ", "kimlik "),
    "tax_number": ("VKN ", "Vergi No: ", "vergi kimlik numarası ", "Vergi Dairesi: Kadıköy, "),
    "iban": ("", "IBAN: ", "hesap "),
    "card": ("", "kart ", "kart no: "),
}


def spellings(numbers: Random, each: int) -> dict[str, list[str]]:
    """By kind: rows with «» around the personal data."""
    return {kind: [_spelling(kind, numbers) for _ in range(each)] for kind in GROUPS}


def _spelling(kind: str, numbers: Random) -> str:
    before = numbers.choice(BEFORE[kind])
    rest, parts = _number(kind, numbers), []
    for size in numbers.choice(GROUPS[kind]):
        many = len(rest) if size == "x" else int(size)
        parts.append(rest[:many])
        rest = rest[many:]
    if before == "(0":
        parts[0] = f"{parts[0][:3]}){parts[0][3:]}"
    return f"{before}«{numbers.choice(BETWEEN).join(filter(None, parts))}»"


def _number(kind: str, numbers: Random) -> str:
    if kind == "phone":
        places = ("532", "541", "505", "555", "212", "312", "232", "462")
        return numbers.choice(places) + _digits(numbers, 7)
    if kind == "tax_number":
        nine = _digits(numbers, 9)
        return next(one for last in range(10) if tax_number_holds(one := f"{nine}{last}"))
    return {"identity_number": identity_number, "iban": iban, "card": card}[kind](numbers)


def _digits(numbers: Random, many: int) -> str:
    """Figures without a zero in front."""
    return "".join([numbers.choice("123456789"), *numbers.choices("0123456789", k=many - 1)])


def harmless(numbers: Random, many: int) -> list[str]:
    """Decimals, prices, laws, books, dates, rows of a table and the like."""

    def some(fewest: int, most: int | None = None) -> str:
        return _digits(numbers, numbers.randint(fewest, most or fewest))

    def day(by: str) -> str:
        parts = numbers.randint(1, 28), numbers.randint(1, 12), numbers.randint(1950, 2024)
        return by.join(f"{part:02d}" for part in parts)

    forms: tuple[Callable[[], str], ...] = (
        lambda: f"Oran 0.{some(6, 14)} çıktı.",
        lambda: f"Değer {some(1, 3)},{some(6, 12)} bulundu.",
        lambda: f"Bütçe {some(1, 3)}.{some(3)}.{some(3)}.{some(3)} TL",
        lambda: f"Bütçe {some(1, 3)} {some(3)} {some(3)} {some(3)} lira",
        lambda: f"{some(4)} sayılı Kanun, {day('/')} tarihli ve {some(5)} sayılı",
        lambda: f"Esas No: {some(4)}/{some(3, 5)}, Karar No: {some(4)}/{some(5)}",
        lambda: f"ISBN 978-{some(3)}-{some(2)}-{some(4)}-{some(1)}",
        lambda: f"ISBN: {some(10)}",
        lambda: f"{' '.join(some(1, 4) for _ in range(numbers.randint(3, 10)))} dizisi",
        lambda: f"Tablo {' '.join(some(2, 3) for _ in range(numbers.randint(3, 8)))}",
        lambda: f"{day('.')} {some(2)}:{some(2)} ve {day('-')}",
        lambda: f"{day(' ')} {some(3)}",
        lambda: f"Sipariş no {some(9, 17)}",
        lambda: f"Barkod 869{some(10)}",
        lambda: f"Koordinat {some(2)}.{some(7)}, {some(2)}.{some(7)}",
        lambda: f"Sayfa {some(3)}-{some(3)}, cilt {some(2)}, sayı {some(2)}",
        lambda: f"Eksen 0 {some(2, 3)} {some(3)} {some(3, 4)} {some(4)}",
        lambda: f"Maç {some(1)}-{some(1)}, setler {some(2)}-{some(2)} {some(2)}-{some(2)}",
        lambda: f"Sürüm {some(1)}.{some(1)}.{numbers.randint(0, 19)}.{some(1)}",
        lambda: f"Vergi {some(4)} TL, {some(10)} adet",
        lambda: f"Parsel {some(3)}/{some(2)}, ada {some(4)}, pafta {some(2)}-{some(2)}",
    )
    return [numbers.choice(forms)() for _ in range(many)]
