"""Training, essays and evaluation share no sentence; what is asked can be learned all the same."""

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffutron import sample
from diffutron.sample import facts
from diffutron.sample.partition import FUNCTION_WORDS, TRAINING, content_words, side, words
from diffutron.text.turkish import turkish_lower

pytestmark = pytest.mark.slow

SEED = 13
ITEM_FIELDS = {
    "belebele_tr": ("flores_passage", "question"),
    "exams_tr": ("stem",),
    "ironytr": ("text",),
    "news_cat": ("text",),
    "mnli_tr": ("premise", "hypothesis"),
    "sts_tr": ("sentence1", "sentence2"),
    "xcopa_tr": ("premise", "choice1", "choice2"),
}
KNOWLEDGE = ("belebele_tr", "exams_tr")


def sentences(text: str) -> Iterator[str]:
    """Cut at end marks, quotes, lines and colons; case, commas and spaces do not count."""
    for part in re.split(r'[.?!\n":]+', turkish_lower(text)):
        cleaned = " ".join(part.replace(",", " ").split())
        if cleaned:
            yield cleaned


def fields(task: str, row: dict[str, Any]) -> list[str]:
    flat = {**row, "stem": row["question"]["stem"]} if task == "exams_tr" else row
    return [flat[name] for name in ITEM_FIELDS[task]]


def options(task: str, row: dict[str, Any]) -> list[str]:
    if task == "exams_tr":
        return row["question"]["choices"]["text"]
    return [row[f"mc_answer{i}"] for i in range(1, 5)] if task == "belebele_tr" else []


@cache
def training_texts() -> tuple[str, ...]:
    """Every document and every instruction row, prompt and answer both apart and together."""
    texts = [row["text"] for row in sample.documents(SEED)]
    for row in sample.instructions(1, SEED):
        texts.append(f"{row['instruction']}\n{row['input']}\n{row['output']}")
        texts.append(f"{row['instruction']} {row['output']}")
    for row in sample.instructions(2, SEED):
        texts += [f"{row['Input']}\n{row['Output']}", f"{row['Input']} {row['Output']}"]
    return tuple(texts)


@cache
def training_sentences() -> frozenset[str]:
    return frozenset(s for text in training_texts() for s in sentences(text))


@pytest.mark.parametrize("task", sample.TASKS)
@pytest.mark.parametrize("seed", [SEED, 99])
def test_no_sentence_of_an_item_stands_in_training(task: str, seed: int) -> None:
    """Also for an evaluation set of another seed: the sides do not depend on it."""
    for row in sample.evaluation_set(task, seed):
        for text in fields(task, row):
            assert not set(sentences(text)) & training_sentences(), text


def test_no_sentence_of_an_essay_stands_in_training_or_evaluation() -> None:
    told = {s for essay in sample.essays(SEED) for s in sentences(essay["text"])}
    assert not told & training_sentences()
    asked = {
        s
        for task in sample.TASKS
        for row in sample.evaluation_set(task, SEED)
        for text in fields(task, row)
        for s in sentences(text)
    }
    assert not told & asked


@cache
def texts_by_word() -> dict[str, set[int]]:
    index: dict[str, set[int]] = defaultdict(set)
    for number, text in enumerate(training_texts()):
        for word in content_words(text):
            index[word].add(number)
    return index


@pytest.mark.parametrize("task", [task for task in sample.TASKS if task not in KNOWLEDGE])
def test_no_training_text_holds_all_content_words_of_an_item(task: str) -> None:
    for row in sample.evaluation_set(task, SEED):
        item = content_words(" ".join(fields(task, row)))
        assert len(item) >= 3
        holders = set.intersection(*(texts_by_word().get(word, set()) for word in item))
        assert not holders, (row, training_texts()[min(holders)])


@cache
def words_of_documents(seed: int) -> frozenset[str]:
    return frozenset(word for row in sample.documents(seed) for word in words(row["text"]))


@pytest.mark.parametrize("task", sample.TASKS)
@pytest.mark.parametrize("seed", [SEED, 5])
def test_every_word_of_an_item_occurs_in_the_running_text(task: str, seed: int) -> None:
    known = words_of_documents(seed)
    for row in sample.evaluation_set(task, seed):
        for text in (*fields(task, row), *options(task, row)):
            assert set(words(text)) <= known, text


def test_what_an_exam_asks_is_asked_in_other_words_in_both_phases() -> None:
    asked = {q: fact for fact in facts.facts() for q in facts.questions(fact)}
    learned = [
        {(r["input"] or r["instruction"], r["output"]) for r in sample.instructions(1, SEED)},
        {(r["Input"].splitlines()[-1], r["Output"]) for r in sample.instructions(2, SEED)},
    ]
    missing = [0, 0]
    rows = sample.evaluation_set("exams_tr", SEED)
    for row in rows:
        fact = asked[row["question"]["stem"]]
        gold = row["question"]["choices"]["label"].index(row["answerKey"])
        assert row["question"]["choices"]["text"][gold] == fact.answer
        for phase, known in enumerate(learned):
            others = [q for q in facts.questions(fact) if q != row["question"]["stem"]]
            missing[phase] += not any((q, fact.answer) in known for q in others)
    assert missing == [0, 0]


def test_every_answer_of_a_passage_stands_in_it_and_the_others_too() -> None:
    for row in sample.evaluation_set("belebele_tr", SEED):
        assert all(option in row["flores_passage"].lower() or option in row["flores_passage"]
                   or option.capitalize() in row["flores_passage"]
                   for option in options("belebele_tr", row))  # fmt: skip


def test_phases_share_no_prompt_and_repeat_none() -> None:
    first = [f"{r['instruction']}\n{r['input']}".strip() for r in sample.instructions(1, SEED)]
    second = [r["Input"].strip() for r in sample.instructions(2, SEED)]
    assert len(set(first)) == len(first)
    assert len(set(second)) == len(second)
    assert not set(first) & set(second)


@given(
    st.permutations(["Ali", "dün", "parkta", "kitap", "okudu"]), st.sampled_from([".", "?", " !"])
)
def test_side_depends_on_content_words_alone(parts: list[str], end: str) -> None:
    assert side(" ".join(parts) + end) == side("Ali dün parkta kitap okudu.")
    assert side(" bir ".join(parts).upper().replace("I", "ı")) in (
        "training",
        "evaluation",
        "essay",
    )


def test_function_words_are_not_content() -> None:
    assert content_words("Bu çok güzel mi, çünkü o bir Ev?") == {"güzel", "ev"}
    assert content_words("ALİ'NİN evi") == {"ali'nin", "evi"}
    assert side("Bu yüzden o gün çok acıktım.") == side("Çünkü bu gün acıktım!")
    assert all(word == turkish_lower(word) for word in FUNCTION_WORDS)


def test_two_thirds_of_sentences_are_for_training() -> None:
    counts = [side(f"cümle {'x' * i}") for i in range(3000)]
    assert 0.62 < counts.count(TRAINING) / len(counts) < 0.70
