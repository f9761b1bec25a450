"""Personal data: planted ones are found in several forms, figures that look like them stay."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffutron.text.privacy import (
    PLACEHOLDERS,
    iban_holds,
    identity_number_holds,
    luhn_holds,
    replace_personal_data,
)
from tests.support.personal_data import card, grouped, iban, identity_number


@pytest.mark.parametrize("seed", range(20))
def test_numbers_with_checksums_are_found_in_each_form(seed):
    numbers = random.Random(seed)
    who, account, pay = identity_number(numbers), iban(numbers), card(numbers)
    for text, kind in [
        (f"Kimlik no: {who}.", "identity_number"),
        (f"({who})", "identity_number"),
        (f"IBAN: {account}, lütfen", "iban"),
        (f"IBAN {grouped(account, 4, ' ')} hesabına", "iban"),
        (f"kart {pay} ile", "card"),
        (f"kart {grouped(pay, 4, ' ')} ile 12/27", "card"),
        (f"kart {grouped(pay, 4, '-')}.", "card"),
    ]:
        plain, found = replace_personal_data(text)
        assert found == {kind: 1}, text
        assert not any(character.isdigit() for character in plain.replace("12/27", ""))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Bana ali.veli+is@ornek.com.tr adresinden yazın.", "email"),
        ("mailto:ayşe_1@üniversite.edu.tr", "email"),
        ("Tel: 0 (212) 555 12 34", "phone"),
        ("Tel: 0212 555 12 34", "phone"),
        ("cep +90 532 555 12 34.", "phone"),
        ("cep 0532 555 1234", "phone"),
        ("cep 05325551234", "phone"),
        ("ara: (0532) 555-12-34", "phone"),
        ("532 555 12 34 numarası", "phone"),
        ("yurt dışı +49 170 1234567", "phone"),
        ("Sunucu 85.96.12.7 adresinde", "ip"),
        ("Sunucu 2001:db8:85a3::8a2e:370:7334 adresinde", "ip"),
    ],
)
def test_other_kinds(text, kind):
    plain, found = replace_personal_data(text)
    assert found == {kind: 1}
    assert sum(plain.count(placeholder) for placeholder in PLACEHOLDERS) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Nüfus 12345678901 değil, 1 234 567 kişiydi.",  # eleven digits without the checksum
        "Sürüm 1.2.3.4 çıktı, 127.0.0.1 yerel adrestir.",
        "Göstergeler 3600 3000 2400 1800 2150 1650 2000 1500 oldu.",
        "1995-2005 yılları arasında 1.250.000 lira harcandı.",
        "6/12/2018 tarihli ve 30617 sayılı karar",
        "saat 10:30:45 ile 12:00:00 arasında",
        "@kullanici adlı hesap",
        "12 345 678 90 12 gibi bir dizi",
        "TR12 3456 numaralı ihale",
        "Düz bir cümle.",
    ],
)
def test_figures_that_are_not_personal_stay(text):
    assert replace_personal_data(text) == (text, {})


@given(st.integers(0, 10**9), st.integers(0, 10), st.integers(1, 9))
def test_one_wrong_digit_breaks_the_checksums(seed, place, shift):
    numbers = random.Random(seed)
    for make, holds in [(identity_number, identity_number_holds), (card, luhn_holds)]:
        number = make(numbers)
        changed = str((int(number[place]) + shift) % 10)
        assert holds(number)
        assert not holds(number[:place] + changed + number[place + 1 :])
    account = iban(numbers)
    changed = str((int(account[4 + place]) + shift) % 10)
    assert iban_holds(account)
    assert not iban_holds(account[: 4 + place] + changed + account[5 + place :])


def test_luhn_wants_a_card_like_number():
    assert not luhn_holds("0" * 16)
    assert not luhn_holds("42")
    assert luhn_holds("4111 1111 1111 1111")
