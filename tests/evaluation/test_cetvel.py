"""The seven task files: prompts, choices and targets letter by letter, and the traps."""

import json
from pathlib import Path

import pytest

from diffutron.config.section import TASKS
from diffutron.evaluation.cetvel import prompts

FOLDER = Path(prompts.__file__).parent
STS_LABELS = [
    "Benzerlik Yok",
    "Düşük Benzerlik",
    "Orta Benzerlik",
    "Yüksek Benzerlik",
    "Çok Yüksek Benzerlik",
    "Mantıksal Olarak Aynı",
]
ROWS = {
    "belebele_tr": {
        "row": 1,
        "flores_passage": "Kedi uyudu. {{x}}",
        "question": " Kim uyudu? ",
        "mc_answer1": "Köpek",
        "mc_answer2": "Kedi",
        "mc_answer3": "Kuş",
        "mc_answer4": "At",
        "correct_answer_num": "2",
    },
    "exams_tr": {
        "row": 1,
        "question": {
            "stem": "1923",
            "choices": {"text": ["a", " b", "c", "d", "e"], "label": ["A", "B", "C", "D", "E"]},
        },
        "answerKey": " E ",
    },
    "ironytr": {"row": 1, "text": "Ne güzel!", "label": 1},
    "news_cat": {"row": 1, "text": "Maç bitti.", "label": "economy"},
    "mnli_tr": {"row": 1, "premise": "Adam koşuyor.", "hypothesis": "Adam durdu.", "label": 2},
    "sts_tr": {"row": 1, "sentence1": "Bir kız.", "sentence2": "Bir çocuk.", "score": 2.5},
    "xcopa_tr": {
        "row": 1,
        "premise": " Ürün kırıldı. ",
        "choice1": "İnceydi.",
        "choice2": "Isındı.",
        "question": "cause",
        "label": 0,
    },
}
# context, choices, index of the answer
EXPECTED = {
    "belebele_tr": (
        "P: Kedi uyudu. {{x}}\nQ: Kim uyudu?\nA: Köpek\nB: Kedi\nC: Kuş\nD: At\nAnswer:",
        ["A", "B", "C", "D"],
        1,
    ),
    "exams_tr": ("1923", ["a", " b", "c", "d", "e"], 4),
    "ironytr": ("Cümle: Ne güzel!\nSoru: Bu cümlede ironi var mı?\n", ["Hayır", "Evet"], 1),
    "news_cat": (
        "Cümle: Maç bitti.\nSoru: Bu cümlenin konusu nedir?\n Cevap:",
        ["spor", "magazin", "siyaset", "sağlık", "ekonomi"],
        4,
    ),
    "mnli_tr": (
        'Aşağıda iki cümle verilmektedir:\n\nCümle 1: "Adam koşuyor."\nCümle 2: "Adam durdu."\n\n'
        "Bu iki cümle arasındaki ilişki nedir:",
        ["TUTARLI", "ALAKASIZ", "ÇELİŞKİLİ"],
        2,
    ),
    "sts_tr": (
        'Aşağıda iki cümle verilmektedir:\n\nCümle 1: "Bir kız."\nCümle 2: "Bir çocuk."\n\n'
        "Bu iki cümle arasında ne kadar benzerlik vardır:",
        STS_LABELS,
        3,
    ),
    "xcopa_tr": ("Ürün kırıldı çünkü", ["inceydi.", "ısındı."], 0),
}


@pytest.fixture(scope="module")
def tasks():
    from lm_eval.tasks import TaskManager

    sets = {task: [row] for task, row in ROWS.items()}
    manager = TaskManager(include_path=FOLDER, include_defaults=False, metadata={"sets": sets})
    return manager.load(list(TASKS))["tasks"]


@pytest.mark.parametrize("name", TASKS)
def test_requests_of_a_task_letter_by_letter(tasks, name):
    task = tasks[name]
    context, choices, target = EXPECTED[name]
    task.build_all_requests()
    assert [request.args for request in task.instances] == [(context, f" {c}") for c in choices]
    assert task.doc_to_target(task.test_docs()[0]) == target


@pytest.mark.parametrize("name", TASKS)
def test_metrics_and_zero_shot(tasks, name):
    config = tasks[name].config
    assert config.num_fewshot == 0
    assert [metric["metric"] for metric in config.metric_list] == ["acc", "acc_norm"]
    assert (FOLDER / f"{name}.yaml").read_text().count(f"task: {name}\n") == 2


@pytest.mark.parametrize(
    ("score", "bucket"),
    [(0, 0), (0.49, 0), (0.5, 1), (1.5, 2), (2.4999, 2), (2.5, 3), (3.5, 4), (4.5, 5), (5, 5)],
)
def test_similarity_buckets_hold_their_lower_bound(score, bucket):
    assert prompts.sts_target({"score": score}) == bucket


def test_exam_key_that_is_no_label_scores_index_three():
    doc = {"question": {"choices": {"label": ["A", "B", "C", "D"]}}, "answerKey": "@"}
    assert prompts.exams_target(doc) == 3


@pytest.mark.parametrize(
    ("text", "turkish", "cetvel"),
    [
        ("İnceydi.", "inceydi.", "i\u0307nceydi."),
        ("Isındı.", "ısındı.", "isındı."),
        ("I\u0307nce", "ince", "i\u0307nce"),
        ("Çaldı", "çaldı", "çaldı"),
        ("3 kişi", "3 kişi", "3 kişi"),
        ("A", "a", "a"),
    ],
)
def test_first_letter_follows_the_chosen_casing(text, turkish, cetvel):
    doc = {"choice1": text, "choice2": text}
    assert prompts.xcopa_choices(doc) == [turkish] * 2
    assert prompts.xcopa_choices_cetvel(doc) == [cetvel] * 2


def test_effect_and_the_dropped_last_letter():
    doc = {"premise": "Yağmur yağdı!", "question": "effect"}
    assert prompts.xcopa_text(doc) == "Yağmur yağdı bu yüzden"


def test_rows_reads_a_folder_when_none_are_handed_over(tmp_path):
    (tmp_path / "ironytr.jsonl").write_text(json.dumps({"text": "Ne hoş!", "label": 0}) + "\n")
    read = prompts.rows("ironytr", source="local", folder=str(tmp_path))
    assert read["test"].to_list() == [{"row": 1, "text": "Ne hoş!", "label": 0}]
