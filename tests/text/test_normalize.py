"""Normal form: what is repaired, what is left alone, and that a second pass changes nothing."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffutron.text.normalize import REPAIRS, normalize, normalize_letters

TURKISH = "Çağrı, İğdır'ın şişman ördeğini gördü; ılık bir öğle vaktiydi."


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_every_unicode_form_becomes_nfc(form):
    assert normalize(unicodedata.normalize(form, TURKISH)) == TURKISH


@pytest.mark.parametrize(
    "text",
    [
        "Þór ve Ðuro Þingvellir'de buluştu, ışık söndü.",  # Icelandic names in Turkish
        "Sadece bir þ harfi.",
        "Âşık Veysel'in kâğıdı, Â harfi ile.",
        "Ã harfi Portekizcede vardır.",
    ],
)
def test_letters_that_only_look_broken_stay(text):
    assert normalize(text) == text


def test_punctuation_of_windows_is_no_control_character():
    assert normalize("Avrupa\x92da \x93derbi\x94 ateşi\x85 5\x80 \x96 bitti\x81") == (
        "Avrupa’da “derbi” ateşi\n5€ – bitti"
    )


def test_decomposed_dotted_i_is_one_letter():
    assert normalize("i̇stanbul ve ı̇zmir, I\u0307stanbul") == "istanbul ve izmir, İstanbul"


def test_invisible_and_control_characters_go_and_emoji_stay_whole():
    family = "👨\u200d👩\u200d👧"
    text = f"\ufeffmer\u00adha\u200bba\x00 dün\u202eya{family}\x07"
    assert normalize(text) == f"merhaba dünya{family}"


def test_spaces_and_lines():
    text = "bir\u00a0 iki\t üç \r\n  dört\r\n\r\n\r\n\r\nbeş\u2028altı "
    assert normalize(text) == "bir iki üç\ndört\n\nbeş\naltı"


def test_letters_only_keeps_the_layout():
    assert normalize_letters("Soru?\r\n Cevap:  x\u200b ") == "Soru?\n Cevap:  x "


MARKS = "iıİşç\u0307\u0301\u0327\u200b\u200d\x00\u00ad e\n"


@given(st.text() | st.text(alphabet=MARKS, max_size=8))
def test_a_second_pass_changes_nothing(text):
    once = normalize(text)
    assert normalize(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert not any(unicodedata.category(c) == "Cc" and c != "\n" for c in once)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (TURKISH, set()),
        ("Â ve Ã harfleri, kâğıt ile.", set()),
        (TURKISH.encode().decode("latin-1"), {"utf8_as_latin-1"}),
        (TURKISH.encode().decode("cp1252", errors="ignore"), {"utf8_as_cp1252"}),
        ("dağ yolu ğüzel: ğŸ˜€", {"utf8_as_cp1254"}),
        (TURKISH.encode("cp1254").decode("latin-1"), {"turkish_as_latin-1"}),
        ("Ba&#351;kent &ccedil;ok g&uuml;zel", {"entities"}),
        ("\x93Dağ\x94 dedi", {"windows_as_latin-1"}),
        ("Da\x00ğ", {"control"}),
        ("Da\u200bğ", {"invisible"}),
        ("Dağ\u00a0yolu\r\nbitti", {"white_space"}),
        (unicodedata.normalize("NFD", TURKISH), {"decomposed"}),
        ("i\u0307stanbul", {"decomposed"}),
        ("Da\x00g\u0306 &amp; ta\u015f", {"control", "decomposed", "entities"}),
    ],
)
def test_each_kind_of_repair_is_named(text, kinds):
    found = set()
    normalize(text, found)
    assert found == kinds
    assert found <= REPAIRS.keys()
    again = set()
    normalize(normalize(text), again)
    assert not again


@given(st.text())
def test_a_kind_is_named_where_letters_change_and_only_there(text):
    found = set()
    changed = normalize_letters(text, found) != text
    assert bool(found) == changed
