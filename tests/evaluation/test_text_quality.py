"""Measures of generated text, worked by hand."""

import pytest

from diffutron.evaluation.text_quality import (
    constant_share,
    listed_words,
    measures,
    normalized_answer,
    words,
)


def test_words_are_letters_with_their_suffix_after_an_apostrophe():
    assert words("Ankara'da 3 kedi, bir-iki köpek’le!") == [
        "Ankara'da",
        "kedi",
        "bir",
        "iki",
        "köpek’le",
    ]
    assert words("I\u0307yi") == ["İyi"], "a decomposed letter is one letter"
    assert words("12 + 3 _") == []


def test_measures_worked_by_hand():
    texts = ["kedi uyur kedi uyur", "kedi uyur", "", " \n", "xq"]
    found = measures(texts, is_word={"kedi", "uyur"}.__contains__)
    # pairs: kedi-uyur, uyur-kedi, kedi-uyur | kedi-uyur
    assert found == {
        "n": 5,
        "words": 7,
        "valid_words": 6 / 7,
        "distinct_2": 2 / 4,
        "repetition": 1 / 4,
        "empty": 2 / 5,
    }


def test_shares_over_nothing_are_none():
    found = measures(["12", ""], is_word=lambda word: True)
    assert (found["valid_words"], found["distinct_2"], found["repetition"]) == (None, None, None)
    assert found["empty"] == 0.5


def test_answers_are_compared_as_text_without_edges():
    assert normalized_answer("  Ankara\n büyük ") == "Ankara büyük"
    assert normalized_answer("I\u0307zmir") == "İzmir"
    assert normalized_answer("ankara") != normalized_answer("Ankara")


def test_the_best_constant_answer():
    assert constant_share(["Evet", "Hayır", " Evet", "Kedi"]) == 0.5


def test_listed_words_allow_a_capital_at_the_start_of_a_sentence(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("ılık\nİzmir\nkedi\n", encoding="utf-8")
    is_word = listed_words(path)
    assert all(map(is_word, ["ılık", "Ilık", "İzmir", "Kedi"]))
    assert not any(map(is_word, ["ilik", "köpek", "Ilik"]))


@pytest.mark.parametrize("word", ["kitabım", "Evlerde", "geliyorum"])
def test_the_sample_knows_its_forms(word):
    from diffutron.sample import is_word

    assert is_word(word)
    assert not is_word(word + "zq")
