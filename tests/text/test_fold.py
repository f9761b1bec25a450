"""Folded words: what makes no difference, and that the quick way says what the careful one says."""

import pytest

from diffutron.text.fold import CODEC, folded_words

FORCE_CAREFUL = " 😀"  # no letter, and not in CODEC


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("IŞIK, ışık ve İzmir!", ["isik", "isik", "ve", "izmir"]),
        ("hâlâ şöyle", ["hala", "soyle"]),
        ("s\u0327o\u0308yle", ["soyle"]),
        ("Türkiye'nin Türkiye’nin Türkiye&#39;nin", ["turkiyenin"] * 3),
        ("&Ccedil;ay &quot;demli&quot;", ["cay", "demli"]),
        ("başvu-\n  ruldu siyah-beyaz", ["basvuruldu", "siyahbeyaz"]),
        ("- bir\n- iki", ["bir", "iki"]),
        ("Привет 12,5", ["привет", "12", "5"]),
    ],
)
def test_what_makes_no_difference(text, words):
    assert folded_words(text) == words
    assert folded_words(text + FORCE_CAREFUL) == words


def test_both_ways_agree_on_every_character():
    for byte in range(256):
        text = f"a{bytes([byte]).decode(CODEC, errors='ignore')}b"
        assert folded_words(text) == folded_words(text + FORCE_CAREFUL), text


def test_folding_twice_changes_nothing():
    for code in [*range(0x20, 0x250), *range(0x1E00, 0x1F00), *range(0x2000, 0x2100)]:
        once = " ".join(folded_words(f"x{chr(code)}y"))
        assert " ".join(folded_words(once)) == once, hex(code)
