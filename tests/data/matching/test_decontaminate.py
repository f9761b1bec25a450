"""Evaluation items in a document: verbatim, recased, with changed words; and clean documents."""

import html
import random

import pytest

from diffutron.data.matching.decontaminate import Contamination, Item, items_of, window_overlap
from diffutron.text.normalize import normalize
from diffutron.text.turkish import turkish_upper

PASSAGE = (
    "Gölün kıyısındaki eski değirmen, köylülerin anlattığına göre yüz yıl önce bir sel "
    "baskınında yıkılmış ve bir daha onarılmamıştı."
)
EXAM = {
    "question": {
        "stem": "Bitkilerin ışık enerjisiyle besin üretmesine ne ad verilir?",
        "choices": {"text": ["Fotosentez", "Solunum olayı", "Mayalanma", "Terleme"]},
    }
}
CLEAN = (
    "Bitkiler ışık alınca büyür. Fotosentez bu işin adıdır, solunum ise gece de sürer. Mayalanma "
    "ekmekte, terleme yaprakta olur."
)


@pytest.fixture
def index(make_params):
    rules = make_params().corpus.contamination
    items = [
        *items_of("news_cat", [{"text": PASSAGE, "label": "politics"}]),
        *items_of("exams_tr", [EXAM]),
        *items_of("sts_tr", [{"row": 7, "sentence1": "Adam geldi.", "sentence2": "Adam geldi."}]),
    ]
    return Contamination(items, rules)


def test_fields_are_read_and_equal_ones_count_once(index):
    news, exam, pair = index.items
    assert (news.name, exam.name, pair.name) == ("news_cat:1", "exams_tr:1", "sts_tr:7")
    assert len(exam.fields) == 5
    assert pair.fields == (("adam", "geldi"),)


@pytest.mark.parametrize(
    "planted",
    [PASSAGE, PASSAGE.upper(), turkish_upper(PASSAGE), PASSAGE.lower(), PASSAGE.replace(",", " -")],
)
def test_a_long_field_alone_gives_the_document_away(index, planted):
    assert index.find(f"Başka bir cümle. {planted} Son söz.") == "news_cat:1"


def test_short_fields_count_only_together(index):
    stem = EXAM["question"]["stem"]
    choices = " ".join(EXAM["question"]["choices"]["text"])
    assert index.find(f"{stem} {choices}") == "exams_tr:1"
    assert index.find(stem) is None
    assert index.find(choices) is None
    assert index.find(CLEAN) is None


def test_items_that_say_too_little_are_not_looked_for(index):
    assert index.find("Adam geldi. Adam geldi.") is None


def test_one_word_in_ten_changed_is_still_found(make_params):
    rules = make_params().corpus.contamination
    numbers = random.Random(2)
    vocabulary = [f"kelime{number}" for number in range(5000)]
    items = [
        Item(f"task:{n}", (tuple(numbers.choices(vocabulary, k=numbers.randint(20, 60))),))
        for n in range(200)
    ]
    index = Contamination(items, rules)
    found = 0
    for item in items:
        tokens = list(item.fields[0])
        for place in numbers.sample(range(len(tokens)), len(tokens) // 10):
            tokens[place] = "başka"
        context = numbers.choices(vocabulary, k=20)
        found += index.find(" ".join([*context, *tokens, *context])) == item.name
        assert index.find(" ".join(context)) is None
    assert found >= 190


def test_window_overlap_matches_a_naive_search():
    numbers = random.Random(4)
    for _ in range(200):
        tokens = numbers.choices("abcdef", k=numbers.randint(0, 15))
        field = numbers.choices("abcdefg", k=numbers.randint(1, 6))
        naive = 0
        for start in range(-len(field), len(tokens)):
            window = tokens[max(start, 0) : start + len(field)]
            naive = max(naive, sum(min(window.count(w), field.count(w)) for w in set(field)))
        assert window_overlap(tokens, field) == naive


def test_every_item_of_a_document_is_found_once(index):
    choices = " ".join(EXAM["question"]["choices"]["text"])
    planted = f"{PASSAGE} {EXAM['question']['stem']} {choices} {PASSAGE}"
    assert list(index.find_all(planted)) == ["news_cat:1", "exams_tr:1"]
    assert index.find(planted) == "news_cat:1"
    assert list(index.find_all(CLEAN)) == []


def test_items_of_a_stand_in_have_its_name(make_params):
    items = items_of("standin_x", [{"row": 3, "text": PASSAGE}], "news_cat")
    assert [item.name for item in items] == ["standin_x:3"]


def test_items_are_normalized_like_the_documents(make_params):
    text = " ".join(f"takım{n}\x92ın oyuncusu{n}\x92dan" for n in range(8))
    found = Contamination(items_of("ironytr", [{"text": text}]), make_params().corpus.contamination)
    assert found.find(normalize(f"Dün akşam {text} dendi.")) == "ironytr:1"


XCOPA = {"premise": "Ofis kapalıydı.", "choice1": "Türkiye'de tatildi.", "choice2": "Yazdı."}
FILLER = "Bambaşka bir konudan söz eden uzun bir yazının sözcükleri burada durur. "


def short_items(make_params, **changes):
    rules = make_params().corpus.contamination.model_copy(update=changes)
    irony = [
        {"row": row, "text": text} for row, text in enumerate(("Bu da oldu.", "Bu da mı oldu?"))
    ]
    return Contamination([*items_of("xcopa_tr", [XCOPA]), *items_of("ironytr", irony)], rules)


def test_a_question_in_full_counts_with_another_field_near_it(make_params):
    index = short_items(make_params)
    premise, choice, other = XCOPA["premise"], XCOPA["choice1"], XCOPA["choice2"]
    for planted in (f"{premise} Niye? {choice}", f"{choice} Bu yüzden {premise}"):
        assert index.find(f"{FILLER}{planted} {FILLER}") == "xcopa_tr:1"
    # Premise alone, choice alone, broken premise, too few words in all, too far away.
    for text in (premise, choice, f"Ofis bugün kapalıydı. {choice}", f"{premise} {other}",
                 f"{premise} {FILLER * 6} {choice}"):  # fmt: skip
        assert index.find(f"{FILLER}{text} {FILLER}") is None
    assert short_items(make_params, whole_fields=None).find(f"{premise} {choice}") is None


def test_an_item_of_one_field_counts_in_full_if_it_has_words_enough(make_params):
    index = short_items(make_params)
    assert index.find(f"{FILLER} bu da mı oldu {FILLER}") == "ironytr:1"
    assert index.find(f"{FILLER} bu da oldu {FILLER}") is None


@pytest.mark.parametrize(
    "disguise",
    [
        lambda text: text.encode("ascii", "xmlcharrefreplace").decode(),
        html.escape,
        lambda text: text.translate(str.maketrans("çğıöşü", "cgiosu")),
        lambda text: text.replace("'", "’"),
        lambda text: text.replace("'", ""),
        lambda text: text.replace("kapa", "kapa-\n"),
        str.upper,
        turkish_upper,
    ],
)
def test_a_short_item_is_found_in_disguise(make_params, disguise):
    planted = disguise(f"{XCOPA['premise']} {XCOPA['choice1']}")
    assert short_items(make_params).find(f"{FILLER}\n{planted}\n{FILLER}") == "xcopa_tr:1"
