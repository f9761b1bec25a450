"""What a held-out row shares with no training row: planted in odd forms, beside rows that only
look alike."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffutron.config.data_params import NearDuplicateParams
from diffutron.data.instructions.row_table import split_rows
from diffutron.data.instructions.steps import Row
from diffutron.text.turkish import turkish_upper
from tests.support.row_clusters import row_clusters

WORDINGS = [
    "Aşağıdaki metne göre soruyu yanıtla: {q}\n{p}",
    "{p}\n\nYukarıda verilen metinde sorunun yanıtını bul ve yalnızca onu yaz.\nSoru: {q}\nYanıt:",
    "Soru: {q} Metin: {p}",
]
SYLLABLES = ["ka", "lem", "gö", "zü", "ş", "ır", "dağ", "tı", "çe", "ri", "bo", "ğaz", "yu", "sün"]
DISGUISES = {
    "none": lambda words: " ".join(words),
    "cut at its end": lambda words: " ".join(words[: -len(words) // 5]),
    "cut at its start": lambda words: " ".join(words[len(words) // 5 :]),
    "white space": lambda words: "  \n\t".join(words),
    "lines": lambda words: "\n".join(words),
    "capitals": lambda words: turkish_upper(" ".join(words)),
    "entities": lambda words: " ".join(words).replace("ç", "&ccedil;").replace("ş", "&#351;"),
    "diacritics": lambda words: " ".join(words).translate(str.maketrans("çğşöüı", "cgsoui")),
    "punctuation": lambda words: ", ".join(words) + " ...",
}


def made_up(numbers: random.Random, length: int) -> list[str]:
    return ["".join(numbers.choices(SYLLABLES, k=3)) for _ in range(length)]


NEAR = NearDuplicateParams(ngram=3, bands=20, rows=5, threshold=0.8)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    length=st.integers(10, 60),
    number=st.integers(30, 45),
    wordings=st.integers(1, 3),
)
def test_a_passage_is_on_one_side_in_whatever_form_it_stands(seed, length, number, wordings):
    numbers = random.Random(seed)
    rows, passages = [], []
    for _ in range(number):
        passage = made_up(numbers, length)
        hows = ["none", *numbers.sample(sorted(DISGUISES), numbers.randrange(4))]
        for how in hows:
            wording = numbers.choice(WORDINGS[:wordings])
            question = " ".join(made_up(numbers, 5)) + "?"
            prompt = wording.format(q=question, p=DISGUISES[how](passage))
            rows.append(Row(1, "a", prompt, " ".join(made_up(numbers, 2))))
            passages.append(" ".join(passage))
    clusters = row_clusters(rows, NEAR)
    of_passage = {passage: clusters[passages.index(passage)] for passage in passages}
    assert clusters == [of_passage[passage] for passage in passages]
    assert len(set(clusters)) == number  # what has a wording in common stays apart


@pytest.mark.parametrize("seed", range(5))
def test_two_passages_in_a_row_bind_the_rows_of_both(seed):
    numbers = random.Random(seed)
    first, second, *others = (" ".join(made_up(numbers, 20)) for _ in range(30))
    questions = (" ".join(made_up(numbers, 5)) for _ in range(100))
    prompts = [
        f"{first}\n{second}\n{next(questions)}?",
        f"{next(questions)}?\n{second}",
        f"{next(questions)}? Metin: {first}",
        f"{others[0]}\n{second}\n{next(questions)}?",
        *(f"{next(questions)}?\n{other}" for other in others),
    ]
    clusters = row_clusters([Row(1, "a", one, "evet") for one in prompts], NEAR, facts=False)
    assert clusters[:5] == [0, 0, 0, 0, 0]
    assert len(set(clusters[4:])) == len(others)


def test_an_option_in_two_rows_is_no_passage():
    numbers = random.Random(7)
    options = [" ".join(made_up(numbers, 9)) for _ in range(200)]
    prompts = [
        " ".join(made_up(numbers, 6)) + "?\n" + "\n".join(numbers.sample(options, 4))
        for _ in range(100)
    ]
    rows = [Row(1, "a", prompt, "A") for prompt in prompts]
    assert Counter(row_clusters(rows, NEAR, facts=False)).most_common(1)[0][1] <= 5


QUESTION = "Osmanlı Devleti'nin ilk başkenti hangi kentte kurulmuştur?"


@pytest.mark.parametrize(
    "copy",
    [
        "OSMANLI DEVLETİ'NİN İLK BAŞKENTİ HANGİ KENTTE KURULMUŞTUR",
        "Osmanli Devletinin ilk baskenti hangi kentte kurulmustur?",
        "Osmanlı Devleti&#39;nin ilk ba&#351;kenti hangi kentte kurulmu&#351;tur?",
        "Osmanlı  Devleti’nin\nilk başkenti hangi kentte kurulmuştur ?",
        "Osmanlı Devleti'nin ilk başkenti hangi kentte kuruldu?",
        "Osmanlı Devleti'nin ilk başkenti sence hangi kentte kurulmuştur?",
        "İlk başkenti hangi kentte kurulmuştur Osmanlı Devleti'nin?",
    ],
)
def test_near_copies_of_a_question_are_on_one_side_whatever_is_answered(copy):
    numbers = random.Random(3)
    rows = [Row(1, "a", QUESTION, "Bursa"), Row(2, "b", copy, " ".join(made_up(numbers, 40)))]
    rows += [Row(1, "a", " ".join(made_up(numbers, 9)), "hayır") for _ in range(30)]
    clusters = row_clusters(rows, NEAR)
    assert clusters[0] == clusters[1]
    assert len(set(clusters)) == len(rows) - 1


def test_what_is_held_out_shares_no_passage_with_what_is_learned():
    numbers = random.Random(11)
    rows, of_passage = [], []
    for passage in range(120):
        words = made_up(numbers, numbers.randint(12, 80))
        for how in numbers.sample(sorted(DISGUISES), 4):
            prompt = WORDINGS[0].format(q=" ".join(made_up(numbers, 4)), p=DISGUISES[how](words))
            rows.append(Row(1, "a", prompt, numbers.choice(["evet", "hayır"])))
            of_passage.append(passage)
    split_rows(rows, 60, NEAR, seed=5)
    sides = {(passage, row.split) for passage, row in zip(of_passage, rows, strict=True)}
    assert len(sides) == 120
    assert sum(row.split == "heldout" for row in rows) == 60


def test_no_rows_have_no_clusters():
    assert row_clusters([], NEAR) == []
    assert row_clusters([Row(1, "a", "?", "!"), Row(1, "a", "Ne?", "!")], NEAR) == [0, 1]
