"""The morphology against forms written by hand, and the marks of the lexicon."""

from pathlib import Path

import pytest

from diffutron.sample.lexicon import ADJECTIVES, noun, nouns, nouns_of, verbs
from diffutron.sample.morphology import (
    CASES,
    NONFINITE,
    PERSONS,
    TENSES,
    Verb,
    attach,
    because,
    copula,
    imperative,
    nonfinite,
    noun_form,
    past_copula,
    verb_form,
)
from diffutron.text.turkish import VOWELS, turkish_capitalize, turkish_lower, turkish_upper

_LINES = (Path(__file__).parent / "word_forms.tsv").read_text(encoding="utf-8").splitlines()
FORMS = [tuple(line.split("\t")) for line in _LINES if not line.startswith("#")]


def _noun(lemma: str, features: list[str]) -> str:
    case = next((f for f in features if f in CASES), "nom")
    owner = next((f[1:] for f in features if f[:1] == "m" and f[1:] in PERSONS), None)
    return noun_form(noun(lemma), case, plural="pl" in features, possessor=owner)


def _verb(infinitive: str, features: list[str]) -> str:
    verb = verbs()[infinitive[:-3]]
    if features[0] in NONFINITE:
        return nonfinite(verb, features[0])
    if features[0] == "imperative":
        return imperative(verb, negative="neg" in features)
    tense, person, *rest = features
    return verb_form(verb, tense, person, negative="neg" in rest, question="ques" in rest)


@pytest.mark.parametrize(("lemma", "features", "expected"), FORMS)
def test_form_is_the_one_written_by_hand(lemma: str, features: str, expected: str) -> None:
    marks = features.split()
    is_verb = marks[0] in {*TENSES, *NONFINITE, "imperative"}
    assert (_verb if is_verb else _noun)(lemma, marks) == expected


def test_hand_written_file_has_at_least_150_different_forms() -> None:
    assert len(set(FORMS)) >= 150


@pytest.mark.parametrize(
    ("verb", "person", "negative", "expected"),
    [
        ("git", "3sg", False, "gittiği"),
        ("oku", "1sg", True, "okumadığım"),
        ("ye", "1pl", False, "yediğimiz"),
        ("üşü", "2sg", False, "üşüdüğün"),
    ],
)
def test_reason_form(verb: str, person: str, negative: bool, expected: str) -> None:
    assert because(verbs()[verb], person, negative=negative) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [("sarı", "sarıdır"), ("büyük", "büyüktür"), ("açık", "açıktır"), ("mor", "mordur")],
)
def test_copula(word: str, expected: str) -> None:
    assert copula(word) == expected


def test_past_copula_agrees_with_the_person() -> None:
    assert past_copula("mutlu", "1pl") == "mutluyduk"
    assert past_copula("hasta", "3sg") == "hastaydı"


def test_a_verb_stem_without_a_vowel_takes_front_suffixes() -> None:
    assert verb_form(Verb("de"), "present", "1pl", negative=True) == "demiyoruz"


def test_every_suffix_vowel_agrees_with_the_vowel_before_it() -> None:
    """Vowel harmony over the whole lexicon: a plural and a locative after every noun."""
    for word in nouns().values():
        plural = noun_form(word, "loc", plural=True)
        assert plural.endswith(("larda", "lerde"))
        back = next(c for c in reversed(word.lemma) if c in VOWELS) in "aıou"
        assert plural.endswith("larda") == (back and not word.front)


def test_softening_marks_stay_with_known_letter_pairs() -> None:
    pairs = {("p", "b"), ("ç", "c"), ("t", "d"), ("k", "g")}
    for word in nouns().values():
        if word.soft and len(word.soft) == len(word.lemma) and word.soft != word.lemma:
            assert (word.lemma[-1], word.soft[-1]) in pairs, word


def test_assimilation_after_every_voiceless_consonant() -> None:
    for letter in "fstkçşhp":
        assert attach(f"a{letter}", "DA") == f"a{letter}ta"
    for letter in "bcdgğjlmnrvyz":
        assert attach(f"a{letter}", "DA") == f"a{letter}da"


def test_lexicon_has_no_duplicate_within_a_kind_and_pairs_of_opposites() -> None:
    for kind in ("hayvan", "meyve", "sebze", "taşıt", "giysi", "mobilya", "çalgı", "meslek"):
        assert len(set(nouns_of(kind))) == len(nouns_of(kind))
    assert len(ADJECTIVES) % 2 == 0
    assert len(set(ADJECTIVES)) == len(ADJECTIVES)


def test_unknown_noun_is_an_error() -> None:
    with pytest.raises(KeyError):
        noun("yokböylesözcük")


@pytest.mark.parametrize(
    ("upper", "lower"),
    [("İSTANBUL", "istanbul"), ("ILIK IŞIK", "ılık ışık"), ("ÇİÇEK", "çiçek"), ("ĞÜŞÖ", "ğüşö")],
)
def test_turkish_casing_is_its_own_inverse(upper: str, lower: str) -> None:
    assert turkish_lower(upper) == lower
    assert turkish_upper(lower) == upper


def test_turkish_casing_of_decomposed_and_empty_text() -> None:
    assert turkish_lower("I\u0307zmir") == "izmir"
    assert turkish_capitalize("ilk") == "İlk"
    assert turkish_capitalize("ısı") == "Isı"
    assert turkish_capitalize("") == ""
