"""Unusual spellings of personal data are found, and figures that only look like it stay."""

import random

import pytest

from diffutron.text.privacy import (
    KINDS,
    PLACEHOLDERS,
    by_kind,
    replace_personal_data,
    tax_number_holds,
)
from tests.support.personal_data import AROUND, HARMLESS, NO_PLATES, PLATES, UNUSUAL, USUAL, spot

MISSED, ALARMS = 0.05, 0.02  # shares that are allowed
TABLE = [(kind, spot(row)[0]) for kind, rows in UNUSUAL.items() for row in rows]


def test_the_tables_are_large_enough():
    assert set(UNUSUAL) == set(USUAL) == set(KINDS)
    assert len(TABLE) >= 40
    assert len(set(HARMLESS)) >= 60


def test_plates_are_found_where_they_are_asked_for():
    missed = []
    texts = [spot(row)[0] for row in PLATES]
    for text in texts:
        plain, found = replace_personal_data(AROUND.format(text), plates=True)
        if found != {"plate": 1} or plain.count("[PLAKA]") != 1:
            missed.append((text, plain))
    assert len(missed) <= MISSED * len(PLATES), missed
    assert all(replace_personal_data(text) == (text, {}) for text in texts)


def test_what_looks_like_a_plate_stays():
    harmless = [*NO_PLATES, *HARMLESS]
    alarms = [(one, replace_personal_data(one, plates=True)[0]) for one in harmless]
    alarms = [pair for pair in alarms if pair[0] != pair[1]]
    assert len(alarms) <= ALARMS * len(harmless), alarms


def test_the_other_kinds_are_found_beside_plates():
    for kind, text in TABLE:
        without = replace_personal_data(text)
        assert replace_personal_data(text, plates=True) == without, kind


@pytest.mark.parametrize("province", range(100))
def test_a_plate_has_a_province_and_figures_that_go_with_its_letters(province):
    for letters, figures in [("A", (4, 5)), ("BZ", (3, 4)), ("CDE", (2, 3))]:
        for number in range(1, 7):
            text = f"plaka {province:02d} {letters} {'7' * number}"
            _, found = replace_personal_data(text, plates=True)
            assert bool(found) == (1 <= province <= 81 and number in figures), text


def test_a_kind_that_was_not_looked_for_is_not_counted_as_none():
    _, found = replace_personal_data("34 ABC 123, veli@ornek.com", plates=True)
    assert by_kind(found, plates=True)["plate"] == 1
    assert by_kind(found, plates=False) == {kind: int(kind == "email") for kind in KINDS}


def test_unusual_spellings_are_found():
    missed = []
    for kind, text in TABLE:
        plain, found = replace_personal_data(AROUND.format(text))
        if found != {kind: 1} or sum(map(plain.count, PLACEHOLDERS)) != 1:
            missed.append((kind, text, plain))
    assert len(missed) <= MISSED * len(TABLE), missed


@pytest.mark.parametrize(
    ("kind", "row"), [(kind, row) for kind, rows in USUAL.items() for row in rows]
)
def test_usual_spellings_are_all_found(kind, row):
    text, start, end = spot(row)
    plain, found = replace_personal_data(text)
    assert found == {kind: 1}
    assert text[start:end] not in plain


def test_figures_that_look_alike_stay():
    alarms = [(one, replace_personal_data(one)[0]) for one in HARMLESS]
    alarms = [pair for pair in alarms if pair[0] != pair[1]]
    assert len(alarms) <= ALARMS * len(HARMLESS), alarms


@pytest.mark.parametrize("seed", range(20))
def test_a_tax_number_wants_its_check_digit(seed):
    start = random.Random(seed).randrange(10**8, 10**9)
    holding = [last for last in range(10) if tax_number_holds(f"{start}{last}")]
    assert len(holding) == 1
    text = f"VKN: {start}{(holding[0] + 1) % 10}"
    assert replace_personal_data(text) == (text, {})
