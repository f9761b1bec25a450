"""The reader of the seven sets: schemas, local layout with stand-ins, drops, and bad input."""

import json
from pathlib import Path

import pytest

from diffutron.config.section import TASKS
from diffutron.data.evaluation_sets.evaluation_sets import (
    HUB,
    LOCAL,
    SCHEMA,
    EvaluationSet,
    load_rows,
    load_sets,
    sets_digest,
)
from diffutron.runtime.errors import UserError

from .rows import EXAM, ROWS, changed


def write(folder: Path, name: str, *rows: dict) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


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


def test_sample_sets_fit_the_schemas_and_have_200_rows():
    sets, missing = load_sets(TASKS, source="sample")
    assert missing == []
    assert all(len(one.rows) >= 200 and one.stand_in is None for one in sets)
    assert sets_digest(sets) == sets_digest(load_sets(TASKS, source="sample")[0])
