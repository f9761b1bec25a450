"""Shape of what the sample gives out: schemas, sizes, valid words, determinism."""

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from diffutron import sample
from diffutron.runtime.errors import UserError
from diffutron.sample.partition import words
from diffutron.text.turkish import turkish_upper

Rows = list[dict[str, str]]
SCHEMAS = {
    "belebele_tr": {
        "link", "question_number", "flores_passage", "question", "mc_answer1", "mc_answer2",
        "mc_answer3", "mc_answer4", "correct_answer_num", "dialect", "ds",
    },
    "exams_tr": {"id", "question", "answerKey", "info"},
    "ironytr": {"text", "label"},
    "news_cat": {"text", "label"},
    "mnli_tr": {"premise", "hypothesis", "label"},
    "sts_tr": {"sentence1", "sentence2", "score"},
    "xcopa_tr": {"premise", "choice1", "choice2", "question", "label", "idx", "changed"},
}  # fmt: skip


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [s for part in value.values() for s in strings(part)]
    return [s for part in value for s in strings(part)] if isinstance(value, list) else []


@pytest.mark.parametrize("task", sample.TASKS)
def test_rows_have_the_fields_of_the_hub_set_and_are_unique(task: str) -> None:
    rows = sample.evaluation_set(task)
    assert len(rows) >= 200
    assert all(set(row) == SCHEMAS[task] for row in rows)
    texts = [json.dumps({k: v for k, v in row.items() if k != "idx"}) for row in rows]
    assert len(set(texts)) >= 0.99 * len(rows)


def test_types_of_the_fields() -> None:
    exam = sample.evaluation_set("exams_tr")[0]
    assert exam["question"]["choices"]["label"] == ["A", "B", "C", "D"]
    assert exam["question"]["choices"]["para"] == ["", "", "", ""]
    passage = sample.evaluation_set("belebele_tr")[0]
    assert passage["correct_answer_num"] in ("1", "2", "3", "4")
    assert {type(r["score"]) for r in sample.evaluation_set("sts_tr")} == {float}
    assert all(0 <= r["score"] <= 5 for r in sample.evaluation_set("sts_tr"))
    topics = {"sport", "magazine", "politics", "health", "economy"}
    assert {r["label"] for r in sample.evaluation_set("news_cat")} == topics
    causes = Counter(r["question"] for r in sample.evaluation_set("xcopa_tr"))
    assert set(causes) == {"cause", "effect"}
    assert min(causes.values()) > 60
    assert any(r["choice1"].startswith("İ") for r in sample.evaluation_set("xcopa_tr"))


def test_changing_a_row_does_not_change_the_next_call() -> None:
    sample.evaluation_set("exams_tr")[0]["question"]["stem"] = "?"
    assert sample.evaluation_set("exams_tr")[0]["question"]["stem"] != "?"


def test_documents_are_about_thirty_thousand_sentences_in_several_groups(documents: Rows) -> None:
    rows = documents
    counts = [len(re.findall(r"[.?!](?:[ \n\"]|$)", row["text"])) for row in rows]
    assert 29_000 <= sum(counts) <= 32_000
    told = [n for n, row in zip(counts, rows, strict=True) if row["source"] != "test"]
    assert sum(3 <= n <= 8 for n in told) >= 0.99 * len(told)
    assert {row["group"] for row in rows} == {"wiki", "web", "forum"}
    assert len({row["source"] for row in rows}) >= 3
    assert {tuple(row) for row in rows} == {("text", "source", "group")}
    forms = {word for row in rows for word in words(row["text"])}
    assert len(forms) >= 10_000


def test_essays_have_titles_and_are_longer_than_documents(essays: Rows) -> None:
    rows = essays
    assert 60 <= len(rows) <= 100
    assert {tuple(row) for row in rows} == {("text", "title", "source")}
    assert min(len(row["text"].split(". ")) for row in rows) >= 6


@pytest.mark.parametrize(
    ("phase", "names"),
    [(1, ("instruction", "input", "output", "source")), (2, ("Input", "Output", "source"))],
)
def test_instructions_have_the_published_fields_and_short_answers(
    phases: dict[int, Rows], phase: int, names: tuple[str, ...]
) -> None:
    rows = phases[phase]
    assert 7_500 <= len(rows) <= 8_500
    assert {tuple(row) for row in rows} == {names}
    answers = [row[names[-2]] for row in rows]
    assert all(1 <= len(answer.split()) <= 6 for answer in answers)
    assert len({row["source"] for row in rows}) >= 8
    assert len(set(answers)) >= 1_000


def test_every_word_of_the_sample_is_a_form_of_the_grammar(
    documents: Rows, essays: Rows, phases: dict[int, Rows]
) -> None:
    texts = {row["text"] for row in (*documents, *essays)}
    for row in (*phases[1], *phases[2]):
        texts.update(value for name, value in row.items() if name != "source")
    found = {word for text in texts for word in words(text)}
    assert not [word for word in found if not sample.is_word(word)]


def test_word_forms_are_many_and_reject_wrong_harmony() -> None:
    assert len(sample.word_forms()) >= 10_000
    for word in ("kitabı", "KİTABI", turkish_upper("ışığı"), "Ankara'da", "gidiyor"):
        assert sample.is_word(word), word
    assert sample.is_word("Ankara\u2019da")
    for word in ("kitapı", "evlar", "gidyor", "saatlar", "golu", "grıbı", "", "kitap'ta"):
        assert not sample.is_word(word), word


_DIGEST = """
import hashlib, json
from diffutron import sample
parts = [sample.documents(), sample.essays(), sample.instructions(1), sample.instructions(2)]
parts += [sample.evaluation_set(task) for task in sample.TASKS]
print([hashlib.sha256(json.dumps(part).encode()).hexdigest() for part in parts])
"""


def digest(part: list[dict[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(part).encode()).hexdigest()


@pytest.mark.slow
def test_another_process_makes_the_same_bytes(
    documents: Rows, essays: Rows, phases: dict[int, Rows]
) -> None:
    """A process of its own has another order of sets; it must not show."""
    done = subprocess.run(
        [sys.executable, "-c", _DIGEST],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    parts = [documents, essays, phases[1], phases[2], *map(sample.evaluation_set, sample.TASKS)]
    assert ast.literal_eval(done.stdout) == [digest(part) for part in parts]


@pytest.mark.slow
def test_another_seed_makes_other_rows(
    documents: Rows, essays: Rows, phases: dict[int, Rows]
) -> None:
    assert sample.documents(14) != documents
    assert sample.essays(14) != essays
    assert sample.instructions(1, 14) != phases[1]
    for task in sample.TASKS:
        assert sample.evaluation_set(task, 14) != sample.evaluation_set(task)


def test_sentences_start_with_a_capital_letter_and_end_with_a_mark(documents: Rows) -> None:
    for row in documents:
        if row["source"] == "test":  # a quiz: prompts with lines, quotes and labels
            continue
        for sentence in re.split(r"(?<=[.?!]) ", row["text"]):
            assert sentence[0] == turkish_upper(sentence[0])
            assert sentence[-1] in ".?!"


def test_unknown_task_or_phase_is_a_user_error() -> None:
    with pytest.raises(UserError, match="no evaluation set 'boolq'.*xcopa_tr"):
        sample.evaluation_set("boolq")
    with pytest.raises(UserError, match="phase 1 and 2"):
        sample.instructions(3)
