"""Broken letters: real Turkish is broken in every way that is known and comes back in one pass;
clean text of any language and code stays byte for byte as it is."""

import html
import unicodedata
from html.entities import codepoint2name
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffutron.sample import documents
from diffutron.text.normalize import normalize, normalize_letters
from diffutron.text.repair import BYTE_OF, READ_AS, repair_latin1, repair_utf8

LETTERS = "çğıöşüÇĞİÖŞÜâîûÂÎÛ"
SIGNS = "“Ankara” dedi – 30 °C… «evet» • €5, ½, José’nin Ünlü Öğretmen’i: Ö. Faruk 😀 İÜ’nün payı"


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Turkish of the sample, its capitals, and signs that web pages have."""
    found = [normalize(one["text"]) for one in documents(seed=7)][::40]
    found = [text for text in found if not text.isascii()]
    assert len(found) > 30
    capitals = [text.replace("i", "İ").upper() for text in found[::5]]
    return [*found, *capitals, SIGNS, *(f"Bu {letter} harfi." for letter in LETTERS)]


def misread(text: str, encoding: str) -> str:
    """The UTF-8 of a text read as another encoding; undefined bytes become controls, as in
    browsers."""
    return "".join(
        bytes([byte]).decode(encoding, errors="ignore") or chr(byte) for byte in text.encode()
    )


def once_and_for_all(broken: str, text: str) -> None:
    found = normalize(broken)
    assert found == text
    assert normalize(found) == found


@pytest.mark.parametrize("encodings", [*product(READ_AS), *product(READ_AS, repeat=2)])
def test_utf8_read_as_another_encoding_comes_back(texts, encodings):
    for text in texts:
        broken = text
        for encoding in encodings:
            broken = misread(broken, encoding)
        once_and_for_all(broken, text)


def test_each_character_stands_for_one_byte():
    for encoding in READ_AS:
        for byte in range(0x80, 0x100):
            character = bytes([byte]).decode(encoding, errors="ignore") or chr(byte)
            assert BYTE_OF[character] == byte


def test_bytes_that_were_lost():
    """Bytes without a character in Windows-1252 or -1254, replaced by U+FFFD or left out."""
    for encoding in ("cp1252", "cp1254"):
        broken = "DAĞ başı, “Şile” dedi, çığ düştü".encode().decode(encoding, errors="replace")
        assert "\ufffd" in broken
        once_and_for_all(broken, "DAĞ başı, “Şile” dedi, çığ düştü")
    once_and_for_all("â€œÅŸileâ€ dedi", "“şile” dedi")


def test_clean_letters_beside_broken_ones(texts):
    for first, second in zip(texts[::2], texts[1::2], strict=False):
        once_and_for_all(f"{first} {misread(second, 'cp1252')}", f"{first} {second}")
        once_and_for_all(f"{first}\n{misread(second, 'latin-1')}", f"{first}\n{second}")


@pytest.mark.parametrize("encoding", ["cp1254", "iso-8859-9"])
def test_turkish_encodings_read_as_latin1_come_back(texts, encoding):
    tried = 0
    for text in texts:
        try:
            broken = text.encode(encoding).decode("latin-1")
        except UnicodeEncodeError:
            continue
        if sum(broken.count(letter) for letter in "þÞðÐýÝ") >= 2 and len(text) > 40:
            tried += 1
            once_and_for_all(broken, text)
    assert tried > 30


@pytest.mark.parametrize("form", ["NFD", "NFKD"])
def test_decomposed_letters_are_joined_also_when_misread(texts, form):
    for text in texts:
        if unicodedata.is_normalized("NFKC", text):
            decomposed = unicodedata.normalize(form, text)
            once_and_for_all(decomposed, text)
            once_and_for_all(misread(decomposed, "cp1252"), text)


def named(character: str) -> str:
    name = codepoint2name.get(ord(character))
    return f"&{name};" if name else f"&#{ord(character)};"


ESCAPES = {
    "named": named,
    "decimal": lambda character: f"&#{ord(character)};",
    "hexadecimal": lambda character: f"&#x{ord(character):X};",
    "small hexadecimal": lambda character: f"&#x{ord(character):x};",
}


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
def test_html_entities_come_back_also_escaped_twice(texts, escape):
    for text in texts:
        broken = "".join(one if one.isascii() else escape(one) for one in text)
        once_and_for_all(broken, text)
        once_and_for_all(broken.replace("&", "&amp;"), text)


def test_html_entities_of_a_text_in_which_markup_was_escaped(texts):
    for text in texts:
        plain = f'"{text}" & Ar-Ge, 3 < 5'
        once_and_for_all(html.escape(plain), plain)


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        ("T&uuml;rkiye&#39;nin ba&#351;kenti", "Türkiye'nin başkenti"),
        ("Ar&Ge ve T&uuml;rkiye", "Ar&Ge ve Türkiye"),
        ("bir&nbsp;iki &ndash; &uuml;&ccedil;", "bir iki – üç"),
        ("&#195;&#167;ok", "çok"),  # both accidents
        ("DeÄ\u200b\x9fiÅ\x9fmiÅ\u200b\x9f", "Değişmiş"),  # with invisible characters inside
        ("kÃ¢ÄŸÄ±t, Ãœlker’in ‘Ö’sü", "kâğıt, Ülker’in ‘Ö’sü"),
        ("Avrupa\x92da \x93derbi\x94 5\x80", "Avrupa’da “derbi” 5€"),
    ],
)
def test_mixed_accidents(broken, text):
    once_and_for_all(broken, text)


CLEAN = [
    # Article 1 of the Universal Declaration of Human Rights.
    "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar.",
    "Bütün insanlar ləyaqət və hüquqlarına görə azad və bərabər doğulurlar.",
    "Hemme adamlar öz mertebesi we hukuklary boýunça deň ýagdaýda dünýä inýärler.",
    "Bu ýyl öýe barýaryn.",
    "Barcha odamlar erkin, qadr-qimmat va huquqlarda teng bo‘lib tug‘iladilar.",
    "Hver maður er borinn frjáls og jafn öðrum að virðingu og réttindum.",
    "Það er með þeim. Við erum með það.",
    "Øll menniskju eru fødd fræls og jøvn til virðingar og mannarættindi.",
    "Tous les êtres humains naissent libres et égaux en dignité. « À bientôt ! » L’ÂGE D’OR",
    "Todos os seres humanos nascem livres. “AMANHÔ – SÃO PAULO – ‘IRMÔ…",
    "Všichni lidé rodí se svobodní a sobě rovní. Nový starý dům, mladý život.",
    "Všetci ľudia sa rodia slobodní. Ďž, Ťž, ÚŽASNÝ úžas.",
    "Kõik inimesed sünnivad vabadena. ÄŽ, ÕŽ, ÜŽ, JÜŽ",
    "Alle Menschen sind frei. Der Buchstabe „Ä“ und „Ö“, „Ü“ – STRAẞE",
    "Alla människor är födda fria. Å – en bokstav; 5 Å² och 3 Å…",
    "Toate ființele umane se nasc libere. ÎN ROMÂNIA: „ÎNSĂ” și «Â»",
    "Tất cả mọi người sinh ra đều được tự do. ĐÃ… “LÀ” CÔ‘",
    "Tutti gli esseri umani nascono liberi. È così: “COSÌ”… PERÒ’",
    "Todos los seres humanos nacen libres. ESPAÑA… «AÑO» MAÑ’",
    "Wszyscy ludzie rodzą się wolni. „ŻÓŁĆ”…",
    "Все люди рождаются свободными. «Ёлка» – ‘Я’…",
    "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι. «Ώ»…",
    "يولد جميع الناس أحراراً. כל בני האדם נולדו. 人人生而自由。すべての人間は。모든 인간은",
    # Turkish with signs that could be halves of broken letters.
    "İÜ’nün, ODTÜ’nün, AĞ’ın, TEDAŞ’ın, “Leylâ…” ve ‘Leylâ”… KÂ’nın, “Ö”, ‘Ç’, «Ş»",
    "Â harfi, Ã harfi; kâğıt, Âşık, MEVLÂ… RÛ’",
    "Sadece bir þ harfi; Þór ve Ðuro Þingvellir'de buluştu.",
    # Mathematics and code.
    "∀x∈ℝ: x² ≥ 0, ½·√2 ≈ 0,7; α±β → ∞, 5 µm ± 0,1 °C, |A∩B| ≤ ‖v‖₂, a ≠ b, 3×4÷2 ¬p",
    "a & b && c &d; x &= y; p = &kopya; q = &copy;\nreturn &reg;",
    "if (a < b && c > d) { x = &y; }",
    "url = 'https://ornek.tr/?a=1&copy=2&lt=3&b=4'",
    's = s.replace("&", "&amp;").replace("<", "&lt;").replace(\'"\', "&quot;")',
    '<p class="a">T&uuml;rk&ccedil;e &copy; 2020 &nbsp; &lt;br&gt;</p>',
    'el.innerHTML = "a&nbsp;b";',
    "Ar&Ge, R&D; AT&T, Q&A; S&P 500; B&B; &yok; &#0; &#xD800; &#1114112; &;",
    'HTML\'de `&lt;` ve "&gt;" yazılır; & için &amp; yazın, ç harfi için &ccedil; yazın.',
    "def selam(ad: str) -> str:\n    return f'Merhaba {ad}!'  # ğüşıöç",
    "SELECT * FROM kişi WHERE ad LIKE 'Ş%' AND yaş >= 18;",
    "\\frac{a}{b} & \\int_0^1 x \\\\ &= \\sum_i x_i",
]


@pytest.mark.parametrize("text", CLEAN)
def test_clean_text_of_any_language_and_code_stays(text):
    assert repair_utf8(text) == text
    assert repair_latin1(text) == text
    assert normalize_letters(text) == text


def test_no_letter_before_a_mark_is_taken_for_a_broken_one():
    """Words that end in any letter of Latin, in any quote or dash, as `İÜ’` and `“Ä”`."""
    letters = [chr(code) for code in range(0xC0, 0x180) if chr(code).isalpha()]
    for letter, mark in product(letters, "’‘”“…–—•»«›‹"):
        for text in (f"İT{letter.upper()}{mark} dedi", f"{mark}{letter}{mark} harfi"):
            assert repair_utf8(text) == text


PIECES = [
    *LETTERS,
    *"ÃÄÅÂâ€ğŸ\x9f\x9d\u00ad\u200b\ufffd &;#<\"'\n",
    "&amp;",
    "&uuml;",
    "&#351;",
    "þ",
]


@given(
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.lists(st.sampled_from(READ_AS), max_size=3),
)
def test_a_second_pass_changes_nothing(text, encodings):
    for encoding in encodings:
        text = misread(text, encoding)
    once = normalize(text)
    assert normalize(once) == once
