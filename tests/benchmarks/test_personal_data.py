"""Personal data beside libraries: what counts as found, and what is said of those not there."""

import json
from random import Random

import pytest

from benchmarks import personal_data
from benchmarks.parts import drawn_numbers
from benchmarks.parts import personal_data_libraries as libraries
from diffutron.text.privacy import KINDS, PLATE
from tests.support.personal_data import spot


@pytest.fixture
def run(capsys, monkeypatch):
    """`run("--json")`: what is printed where no library is installed, with few drawn rows."""
    monkeypatch.setattr(libraries, "find_spec", lambda name: None)
    monkeypatch.setattr(personal_data, "EACH", 3)
    monkeypatch.setattr(personal_data, "OTHERS", 20)

    def printed(*arguments: str) -> str:
        personal_data.main([*arguments, "--repeats", "1"])
        return capsys.readouterr().out

    return printed


def test_what_is_not_installed_is_named_and_has_no_figures(run):
    said = json.loads(run("--json"))
    (ours,) = said["libraries"]
    assert said["not_installed"] == {one.name: list(one.modules) for one in libraries.LIBRARIES[1:]}
    assert (ours["library"], ours["unknown"], ours["missed"]) == ("diffutron", [], [])
    assert set(ours["unusual"]) == set(ours["usual"]) == set(KINDS)
    assert {counted["rows"] for counted in ours["drawn"].values()} == {3}
    assert ours["drawn_alarms"]["rows"] == 20
    assert ours["rows_per_second"] > 0
    text = run()
    assert "| diffutron | - | - | 118 of 118 (100%) |" in text
    assert text.endswith("not installed (phonenumbers, stdnum)\n")
    assert text.count("| diffutron |") == 4


@pytest.mark.parametrize(
    ("marks", "found"),
    [
        ([(0, 40)], True),
        ([(9, 12), (13, 20)], True),  # in two parts, without the blank between them
        ([(9, 19)], False),
        ([(10, 20)], False),
        ([], False),
    ],
)
def test_found_is_what_no_letter_or_figure_is_left_of(marks, found):
    row = "Tel «532 5551234»"  # from 9 to 20 in "Not: Tel 532 5551234 son."
    assert spot(personal_data.AROUND.format(row))[1:] == (9, 20)
    assert personal_data.missed(lambda text: marks, [row]) == ([] if found else [row])


def test_shares_are_of_all_rows_and_of_those_of_known_kinds(run):
    def load(names):
        assert names == ["NUMBER"]
        return lambda text: [(0, len(text))] if "5" in text else []

    library = libraries.Library("other", (), (), {"NUMBER": "phone"}, load)
    said = personal_data.measure(library, 1)
    assert said["unknown"] == [kind for kind in (*KINDS, PLATE) if kind != "phone"]
    assert said["unusual"]["phone"] == {"rows": 41, "found": 41}
    assert "plates" not in said
    assert all("5" in row for row in said["alarms"])
    assert personal_data.share(said["unusual"], said["unknown"]) == "41 of 41 (100%)"
    counted = {"a": {"rows": 3, "found": 1}, "b": {"rows": 1, "found": 1}}
    assert personal_data.share(counted) == "2 of 4 (50%)"
    assert personal_data.share(counted, ["a"]) == "1 of 1 (100%)"


def test_ours_says_where_in_the_text_the_kinds_stand_that_are_asked_for():
    text = "Ayşe: ayse@ornek.com, 0532 555 12 34; aracı 34 ABC 123."
    places = {"email": "ayse@ornek.com", "phone": "0532 555 12 34", "plate": "34 ABC 123"}
    for kinds in (["email"], ["phone", "email"], ["plate"], [*places]):
        marks = libraries.ours(kinds)(text)
        assert sorted(text[slice(*mark)] for mark in marks) == sorted(map(places.get, kinds))
    assert libraries.ours(KINDS)("Bütçe 5.325.551.234 lira") == []


def test_every_kind_of_a_library_is_one_of_ours():
    assert all({*one.kinds.values()} <= {*KINDS, PLATE} for one in libraries.LIBRARIES)


def test_the_same_seed_draws_the_same_rows():
    first, second = (drawn_numbers.spellings(Random(3), 20) for _ in range(2))
    assert first == second
    figures = {"phone": 10, "identity_number": 11, "tax_number": 10, "iban": 24, "card": 16}
    for kind, rows in first.items():
        for row in rows:
            text, start, end = spot(row)
            assert sum(map(str.isdigit, text[start:end])) == figures[kind], row
    assert drawn_numbers.harmless(Random(3), 50) == drawn_numbers.harmless(Random(3), 50)


def test_ours_finds_numbers_in_any_groups_and_leaves_other_figures():
    numbers, find = Random(5), libraries.ours(KINDS)
    drawn, others = drawn_numbers.spellings(numbers, 60), drawn_numbers.harmless(numbers, 600)
    dotted = {row for row in drawn["card"] if "." in row}  # between long groups: as decimals
    for kind, rows in drawn.items():
        assert set(personal_data.missed(find, rows)) <= dotted, kind
    assert len(personal_data.alarms(find, others)) <= 0.02 * len(others)


def test_no_pass_is_refused():
    with pytest.raises(SystemExit, match="2"):
        personal_data.main(["--repeats", "0"])
