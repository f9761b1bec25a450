"""Ours and libraries that mark personal data, each behind one function.

Each is used as it comes: its own defaults, asked only for the kinds that are promised here, and
without a language model. What is not installed is not imported.
"""

# pyright: reportMissingImports=false

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from importlib.metadata import metadata
from importlib.util import find_spec
from typing import Any

from diffutron.text.privacy import KINDS, PLACEHOLDERS, PLATE, replace_personal_data

Mark = tuple[int, int]  # from where to where in a text
Find = Callable[[str], list[Mark]]
ADDRESS, CARD, EMAIL, IBAN = "ip", "card", "email", "iban"
ID, PHONE, TAX = "identity_number", "phone", "tax_number"


@dataclass(frozen=True)
class Library:
    """`kinds` says what its own names for what it marks are called here.

    load: from the names that are asked for to the function that marks a text.
    """

    name: str
    modules: tuple[str, ...]
    distributions: tuple[str, ...]
    kinds: dict[str, str]
    load: Callable[[Collection[str]], Find]

    @property
    def missing(self) -> list[str]:
        """The modules that cannot be imported here."""
        return [name for name in self.modules if find_spec(name) is None]

    def names(self, kinds: Collection[str]) -> list[str]:
        return [name for name, kind in self.kinds.items() if kind in kinds]

    @property
    def versions(self) -> str:
        """Of its distributions; a dash for what is none, such as ours from a checkout."""
        return ", ".join(metadata(name)["Version"] for name in self.distributions) or "-"

    @property
    def licenses(self) -> str:
        """As the distributions name them themselves."""
        return ", ".join(map(_license, self.distributions)) or "-"


def _license(distribution: str) -> str:
    said = metadata(distribution)
    return next((said[key] for key in ("License-Expression", "License") if key in said), "?")


def ours(names: Collection[str]) -> Find:
    kind_of = dict(zip(PLACEHOLDERS, (*KINDS, PLATE), strict=True))
    cut = re.compile(f"({'|'.join(map(re.escape, PLACEHOLDERS))})")

    def find(text: str) -> list[Mark]:
        plain, _ = replace_personal_data(text, plates=PLATE in names)
        if plain == text:
            return []
        pieces = cut.split(plain)  # every second one is a placeholder
        between = map(re.escape, pieces[::2])
        replaced = re.fullmatch("(.+?)".join(between), text, re.DOTALL)
        assert replaced is not None
        kinds = [kind_of[piece] for piece in pieces[1::2]]
        return [replaced.span(n) for n, kind in enumerate(kinds, 1) if kind in names]

    return find


def presidio(names: Collection[str]) -> Find:
    """Its recognizers for any country and for Turkey, over a tokenizer that needs no model."""
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer import predefined_recognizers as known
    from presidio_analyzer.nlp_engine import SlimSpacyNlpEngine

    # The list of domains that the package brings, instead of one that is downloaded.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())
    engine = SlimSpacyNlpEngine(
        supported_languages=["tr"], generic_tokenizer="blank", auto_download=False
    )
    engine.load()
    recognizers = [
        known.EmailRecognizer(supported_language="tr"),
        known.PhoneRecognizer(supported_language="tr", supported_regions=("TR",)),
        known.IbanRecognizer(supported_language="tr"),
        known.CreditCardRecognizer(supported_language="tr"),
        known.IpRecognizer(supported_language="tr"),
        known.TrNationalIdRecognizer(),
        known.TrLicensePlateRecognizer(),
    ]
    registry = RecognizerRegistry(recognizers=recognizers, supported_languages=["tr"])
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["tr"])
    analyze = partial(analyzer.analyze, language="tr", entities=list(names))
    return lambda text: [(one.start, one.end) for one in analyze(text=text)]


def hushmark(names: Collection[str]) -> Find:
    """Presidio with Turkish recognizers of its own; without its language model."""
    from hushmark_core.engine import DetectionEngine

    analyze: Any = DetectionEngine().analyze
    return lambda text: [(one.start, one.end) for one in analyze(text) if one.type in names]


def kvkk(names: Collection[str]) -> Find:
    from kvkk import detect

    return lambda text: [(one.start, one.end) for one in detect(text, kinds=list(names))]


def kvkk_pii(names: Collection[str]) -> Find:
    from kvkk_pii import DEFAULT_RECOGNIZERS, PiiDetector

    wanted = [one for one in DEFAULT_RECOGNIZERS if one.entity_type in names]
    analyze = PiiDetector(recognizers=wanted).analyze
    return lambda text: [(one.start, one.end) for one in analyze(text).entities]


def telveguard(names: Collection[str]) -> Find:
    from telveguard_core import TrPiiEngine

    engine = TrPiiEngine()
    engine.recognizers = [one for one in engine.recognizers if one.entity in names]
    return lambda text: [(one.start, one.end) for one in engine.analyze(text)]


def checksums(names: Collection[str]) -> Find:
    """Both libraries judge single numbers: `phonenumbers` finds them itself, and for the other
    one every run of digits with single separators is a candidate."""
    from phonenumbers import PhoneNumberMatcher
    from stdnum import iban, luhn
    from stdnum.tr import tckimlik, vkn

    checks: dict[str, Callable[[str], bool]] = {
        "tckimlik": tckimlik.is_valid,
        "vkn": vkn.is_valid,
        "iban": iban.is_valid,
        "luhn": lambda digits: 13 <= len(digits) <= 19 and luhn.is_valid(digits),
    }
    checks = {name: check for name, check in checks.items() if name in names}
    candidate = re.compile(r"(?<![^\W_])(?:[A-Za-z]{2}[ .-]?)?\d(?:[ .-]?\d){9,25}(?![^\W_])")

    def find(text: str) -> list[Mark]:
        marks: list[Mark] = []
        if "phone" in names:
            marks = [(one.start, one.end) for one in PhoneNumberMatcher(text, "TR")]
        for one in candidate.finditer(text):
            compact = re.sub("[ .-]", "", one.group())
            if any(check(compact) for check in checks.values()):
                marks.append(one.span())
        return marks

    return find


LIBRARIES = (
    Library("diffutron", (), (), {kind: kind for kind in (*KINDS, PLATE)}, ours),
    Library(
        "presidio-analyzer",
        ("presidio_analyzer",),
        ("presidio-analyzer",),
        {
            "EMAIL_ADDRESS": EMAIL,
            "PHONE_NUMBER": PHONE,
            "IBAN_CODE": IBAN,
            "CREDIT_CARD": CARD,
            "IP_ADDRESS": ADDRESS,
            "TR_NATIONAL_ID": ID,
            "TR_LICENSE_PLATE": PLATE,
        },
        presidio,
    ),
    Library(
        "hushmark-core",
        ("hushmark_core", "presidio_analyzer"),
        ("hushmark-core",),
        {
            "EMAIL": EMAIL,
            "TR_PHONE": PHONE,
            "TR_IBAN": IBAN,
            "IBAN_OTHER": IBAN,
            "CREDIT_CARD": CARD,
            "TR_TCKN": ID,
            "TR_VKN": TAX,
            "TR_PLATE": PLATE,
        },
        hushmark,
    ),
    Library(
        "kvkk",
        ("kvkk",),
        ("kvkk",),
        {
            "email": EMAIL,
            "phone": PHONE,
            "iban": IBAN,
            "credit_card": CARD,
            "ip": ADDRESS,
            "tckn": ID,
            "vkn": TAX,
            "plate": PLATE,
        },
        kvkk,
    ),
    Library(
        "kvkk-pii",
        ("kvkk_pii",),
        ("kvkk-pii",),
        {
            "EMAIL": EMAIL,
            "TELEFON_TR": PHONE,
            "IBAN_TR": IBAN,
            "KREDI_KARTI": CARD,
            "IP_ADRESI": ADDRESS,
            "TC_KIMLIK": ID,
            "VKN": TAX,
            "PLAKA_TR": PLATE,
        },
        kvkk_pii,
    ),
    Library(
        "telveguard-core",
        ("telveguard_core",),
        ("telveguard-core",),
        {
            "EMAIL_ADDRESS": EMAIL,
            "PHONE_TR": PHONE,
            "IBAN_TR": IBAN,
            "CREDIT_CARD": CARD,
            "TCKN": ID,
            "VKN": TAX,
            "PLATE_TR": PLATE,
        },
        telveguard,
    ),
    Library(
        "phonenumbers, python-stdnum",
        ("phonenumbers", "stdnum"),
        ("phonenumbers", "python-stdnum"),
        {"phone": PHONE, "iban": IBAN, "luhn": CARD, "tckimlik": ID, "vkn": TAX},
        checksums,
    ),
)
