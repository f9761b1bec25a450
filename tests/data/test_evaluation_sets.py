"""The reader of the seven sets: schemas, local layout with stand-ins, drops, and bad input."""

import json
from pathlib import Path

import pytest

from diffutron.data import evaluation_sets
from diffutron.data.evaluation_sets import (
    HUB,
    LOCAL,
    SCHEMA,
    EvaluationSet,
    load_rows,
    load_sets,
    sets_digest,
)
from diffutron.errors import UserError
from diffutron.params import TASKS

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


def write(folder: Path, name: str, *rows: dict) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def changed(task: str, key: str, value: object) -> dict:
    return {**ROWS[task], key: value}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for task, row in ROWS.items():
        write(tmp_path / "cetvel", LOCAL[task][0].name, row, row)
    return tmp_path


def test_every_task_has_a_reader_in_each_source():
    assert set(TASKS) == set(LOCAL) == set(HUB) == set(SCHEMA)


def test_local_layout_is_read_with_place_and_without_unused_fields(folder: Path):
    sets, missing = load_sets(TASKS, source="local", folder=folder)
    assert missing == []
    assert [one.task for one in sets] == [one.name for one in sets] == list(TASKS)
    assert all(len(one.rows) == 2 and one.stand_in is None for one in sets)
    irony = sets[TASKS.index("ironytr")]
    assert irony.rows == [
        {"row": 1, "text": "Ne güzel bir gün!", "label": 1},
        {"row": 2, "text": "Ne güzel bir gün!", "label": 1},
    ]
    assert "idx" not in sets[TASKS.index("mnli_tr")].rows[0]


def test_the_folder_of_the_files_itself_will_do(folder: Path):
    direct = load_rows("ironytr", source="local", folder=folder / "cetvel")
    assert direct.rows == load_rows("ironytr", source="local", folder=folder).rows


def test_missing_sets_are_named_and_the_others_read(folder: Path):
    (folder / "cetvel" / "sts_tr_test.jsonl").unlink()
    sets, missing = load_sets(TASKS, source="local", folder=folder)
    assert missing == ["sts_tr"]
    assert len(sets) == 6
    with pytest.raises(UserError, match=r"sts_tr: .* holds no sts_tr_test.jsonl"):
        load_rows("sts_tr", source="local", folder=folder)


def test_stand_ins_carry_their_own_name(tmp_path: Path):
    write(tmp_path, "standin_mrc4_from_xquad_tr.jsonl", ROWS["belebele_tr"])
    write(tmp_path, "standin_nli_2way_from_sts_tr.jsonl", changed("mnli_tr", "label", 1))
    sets, _ = load_sets(TASKS, source="local", folder=tmp_path)
    assert [(one.name, one.stand_in, one.task) for one in sets] == [
        ("standin_mrc4_from_xquad_tr", "belebele_tr", "belebele_tr"),
        ("standin_nli_2way_from_sts_tr", "mnli_tr", "mnli_tr"),
    ]


def test_the_real_set_goes_before_its_stand_in(folder: Path):
    write(folder / "cetvel", "standin_mrc4_from_xquad_tr.jsonl", ROWS["belebele_tr"])
    assert load_rows("belebele_tr", source="local", folder=folder).stand_in is None


def test_nli_rows_without_a_label_are_dropped_and_counted(folder: Path):
    rows = [ROWS["mnli_tr"], changed("mnli_tr", "label", -1), ROWS["mnli_tr"]]
    write(folder / "cetvel", "mnli_tr_validation_matched.jsonl", *rows)
    loaded = load_rows("mnli_tr", source="local", folder=folder)
    assert [row["row"] for row in loaded.rows] == [1, 3]
    assert loaded.dropped == {"label -1": 1}


def test_a_key_that_is_no_label_is_kept_where_index_three_exists(folder: Path):
    write(folder / "cetvel", "exams_tr_validation.jsonl", {**EXAM, "answerKey": "@"})
    assert len(load_rows("exams_tr", source="local", folder=folder).rows) == 1


BAD = [
    ("belebele_tr", "correct_answer_num", "5", "correct_answer_num"),
    ("exams_tr", "answerKey", None, "answerKey"),
    ("ironytr", "label", 2, "label"),
    ("ironytr", "text", "", "text"),
    ("news_cat", "label", "weather", "label"),
    ("mnli_tr", "label", 3, "label"),
    ("sts_tr", "score", 5.5, "score"),
    ("sts_tr", "score", "4", "score"),
    ("xcopa_tr", "question", "reason", "question"),
    ("xcopa_tr", "label", 2, "label"),
]


@pytest.mark.parametrize(("task", "key", "value", "named"), BAD)
def test_a_value_outside_the_schema_names_file_row_and_field(folder, task, key, value, named):
    file = LOCAL[task][0].name
    write(folder / "cetvel", file, ROWS[task], changed(task, key, value))
    with pytest.raises(UserError) as caught:
        load_rows(task, source="local", folder=folder)
    message = str(caught.value)
    assert f"{file}, row 2" in message
    assert f"`{named}`" in message
    assert "\n" not in message


@pytest.mark.parametrize("task", TASKS)
def test_a_missing_field_is_named_with_those_found(folder, task):
    key = next(reversed(SCHEMA[task].model_fields))
    row = {name: value for name, value in ROWS[task].items() if name != key}
    write(folder / "cetvel", LOCAL[task][0].name, {**row, "etiket": 1})
    with pytest.raises(UserError, match=f"field `{key}` is missing .*etiket"):
        load_rows(task, source="local", folder=folder)


@pytest.mark.parametrize(
    ("choices", "key"),
    [
        ({"text": ["a", "b"], "label": ["A", "B"]}, "C"),
        ({"text": ["a", "b", "c"], "label": ["A", "B"]}, "A"),
    ],
)
def test_an_exam_without_its_answer_is_refused(folder, choices, key):
    row = {**EXAM, "question": {"stem": "?", "choices": choices}, "answerKey": key}
    write(folder / "cetvel", "exams_tr_validation.jsonl", row)
    with pytest.raises(UserError, match=r"exams_tr_validation.jsonl, row 1"):
        load_rows("exams_tr", source="local", folder=folder)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'{"text": "\xfe", "label": 1}\n', "line 1: not UTF-8"),
        (b'{"text": "a", "label": 1}\n\n{"text"\n', "line 3: not JSON"),
        (b"[1, 2]\n", "row 1: "),
        (b"", "holds no rows"),
    ],
)
def test_damaged_files_are_named(folder, content, complaint):
    (folder / "cetvel" / "ironytr.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=complaint):
        load_rows("ironytr", source="local", folder=folder)


def test_unknown_task_source_and_folder(tmp_path: Path):
    with pytest.raises(UserError, match="unknown task 'boolq'; allowed: belebele_tr"):
        load_rows("boolq", source="sample")
    with pytest.raises(UserError, match="unknown source 'web'"):
        load_rows("sts_tr", source="web")
    with pytest.raises(UserError, match="nowhere does not exist"):
        load_sets(TASKS, source="local", folder=tmp_path / "nowhere")
    with pytest.raises(UserError, match="DIFFUTRON_DATA"):
        load_sets(TASKS, source="local")
    with pytest.raises(UserError, match="none of the sets"):
        load_sets(TASKS, source="local", folder=tmp_path)


def test_draw_is_seeded_spread_and_in_order():
    rows = [{"row": number} for number in range(1000)]
    loaded = EvaluationSet(task="sts_tr", name="sts_tr", rows=rows, origin="test")
    drawn = loaded.draw(100, seed=1)
    assert drawn == sorted(set(drawn))
    assert len(drawn) == 100
    assert drawn[-1] > 900, "a prefix of a sorted set would hold one class only"
    assert drawn == loaded.draw(100, seed=1)
    assert drawn != loaded.draw(100, seed=2)
    assert loaded.draw(None, seed=1) is None
    assert loaded.draw(1000, seed=1) is None


class FakeDataset(list):
    """What `datasets.load_dataset` returns, as far as the reader looks."""

    features: dict = {}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch):
    """The outside edge: the hub answers with two rows a task and records what was asked."""
    import datasets

    asked: list[tuple] = []
    answers = {name: FakeDataset([row, row]) for name, row in ROWS.items()}

    def load_dataset(*args, **kwargs):
        asked.append((args, kwargs))
        files = str(kwargs.get("data_files", ""))
        return next(
            answers[task]
            for task, spec in HUB.items()
            if spec.name in (*args[:1], files) or spec.name in files
        )

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(
        evaluation_sets,
        "HUB",
        {task: evaluation_sets.replace(spec, rows=2) for task, spec in HUB.items()},
    )
    return asked, answers


def test_hub_sets_are_read_at_a_revision(hub):
    asked, _ = hub
    sets, missing = load_sets(TASKS, source="hub")
    assert missing == []
    assert [len(one.rows) for one in sets] == [2] * 7
    for (args, kwargs), spec in zip(asked, HUB.values(), strict=True):
        if spec.parquet:
            assert args == ("parquet",)
            assert "@refs%2Fconvert%2Fparquet/" in kwargs["data_files"]["rows"]
        else:
            assert kwargs["revision"] == spec.revision
            assert len(spec.revision) == 40
    assert {task for task, spec in HUB.items() if spec.parquet} == {
        "exams_tr",
        "mnli_tr",
        "xcopa_tr",
    }


def test_hub_rows_are_guarded_by_digest_and_number(hub):
    _, answers = hub
    sets, _ = load_sets(TASKS, source="hub")
    digest = sets_digest(sets)
    load_sets(TASKS, source="hub", digest=digest)
    answers["sts_tr"][0] = changed("sts_tr", "score", 4.0)
    with pytest.raises(UserError, match=r"evaluation\.digest"):
        load_sets(TASKS, source="hub", digest=digest)
    answers["sts_tr"].append(ROWS["sts_tr"])
    with pytest.raises(UserError, match="has 3 rows where 2 are expected"):
        load_sets(TASKS, source="hub")


def test_class_labels_of_the_hub_become_their_names(hub):
    class Label:
        names = ["economy", "health", "magazine", "politics", "sport"]

        def int2str(self, index: int) -> str:
            return self.names[index]

    _, answers = hub
    answers["news_cat"] = FakeDataset([{"text": "Maç bitti.", "label": 4}] * 2)
    answers["news_cat"].features = {"label": Label()}
    assert load_rows("news_cat", source="hub").rows[0]["label"] == "sport"


def test_no_network_is_one_line(monkeypatch):
    import datasets

    def refuse(*_, **__):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(UserError, match=r"cannot read mcemilg/IronyTR .*no route to host"):
        load_rows("ironytr", source="hub")


def test_sample_sets_fit_the_schemas_and_have_200_rows():
    sets, missing = load_sets(TASKS, source="sample")
    assert missing == []
    assert all(len(one.rows) >= 200 and one.stand_in is None for one in sets)
    assert sets_digest(sets) == sets_digest(load_sets(TASKS, source="sample")[0])
