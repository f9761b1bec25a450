"""One row of each evaluation set, by the fields that its task needs."""

EXAM = {
    "id": "x1",
    "question": {
        "stem": "Hangisi bir meyvedir?",
        "choices": {
            "text": ["Elma", "Masa", "Kapı", "Taş"],
            "label": ["A", "B", "C", "D"],
            "para": ["", "", "", ""],
        },
    },
    "answerKey": "A",
    "info": {"grade": 4, "subject": "Biology", "language": "Turkish"},
}
ROWS = {
    "belebele_tr": {
        "link": "",
        "question_number": 1,
        "flores_passage": "Kedi bahçede uyudu.",
        "question": "Kim uyudu?",
        "mc_answer1": "Köpek",
        "mc_answer2": "Kedi",
        "mc_answer3": "Kuş",
        "mc_answer4": "At",
        "correct_answer_num": "2",
        "dialect": "tur_Latn",
        "ds": "",
    },
    "exams_tr": EXAM,
    "ironytr": {"text": "Ne güzel bir gün!", "label": 1},
    "news_cat": {"text": "Takım maçı kazandı.", "label": "sport"},
    "mnli_tr": {"premise": "Adam koşuyor.", "hypothesis": "Adam duruyor.", "label": 2, "idx": 0},
    "sts_tr": {"sentence1": "Bir kız.", "sentence2": "Bir çocuk.", "score": 2.5},
    "xcopa_tr": {
        "premise": "Yağmur yağdı.",
        "choice1": "Islandı.",
        "choice2": "Kurudu.",
        "question": "effect",
        "label": 0,
        "idx": 0,
        "changed": False,
    },
}


def changed(task: str, key: str, value: object) -> dict:
    return {**ROWS[task], key: value}
