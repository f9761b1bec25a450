"""A task file of somebody's own: read by lm-eval's rules, refused in one line, never half."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from diffutron.data.evaluation_sets.findable import FORMS, findable_rows
from diffutron.data.own_tasks import OwnTask, chance
from diffutron.runtime.errors import UserError

ROWS = [
    {"id": "1", "konu": "yer", "soru": "Başkent?", "a": "İzmir", "b": "Ankara", "dogru": "1"},
    {"id": "2", "konu": "yıl", "soru": "Kaç, ne zaman?", "a": "007", "b": "1.50", "dogru": "0"},
    {"id": "3", "konu": "yer", "soru": 'En "büyük" göl?', "a": "Van", "b": "Tuz", "dogru": "Van"},
]
TASK = {
    "task": "soru_bankasi",
    "dataset_path": "csv",
    "dataset_kwargs": {"data_files": {"test": "sorular.csv"}},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "Soru: {{soru}}\nCevap:",
    "doc_to_choice": ["{{a}}", "{{b}}"],
    "doc_to_target": "dogru",
    "metadata": {"kind": "multiple_choice", "cluster": "konu", "license": "CC BY 4.0", "rows": 3},
}
PAIRS = {
    "task": "ciftler",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "ciftler.jsonl"}},
    "doc_to_choice": ["{{iyi}}", "{{kotu}}"],
    "doc_to_target": 0,
    "metadata": {"kind": "minimal_pairs"},
}


@pytest.fixture
def write(tmp_path):
    """A task file with changes (None takes a key out) beside the rows; its path."""

    def make(base=TASK, rows=ROWS, **changes) -> Path:
        values = {key: value for key, value in {**base, **changes}.items() if value is not None}
        name = f"{values.get('task', 'x')}.yaml"
        YAML(typ="safe", pure=True).dump(values, tmp_path / name)
        with (tmp_path / "sorular.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(ROWS[0]))
            writer.writeheader()
            writer.writerows(rows)
        return tmp_path / name

    return make


def test_a_table_is_asked_in_its_own_words(write):
    found = OwnTask(write()).rows()
    assert [row["context"] for row in found.rows] == [f"Soru: {r['soru']}\nCevap:" for r in ROWS]
    assert [row["choices"] for row in found.rows] == [[r["a"], r["b"]] for r in ROWS]
    assert [row["gold"] for row in found.rows] == [1, 0, 0]  # an index, or the text of a choice
    assert [row["cluster"] for row in found.rows] == ["yer", "yıl", "yer"]
    assert chance(found.rows) == 0.5


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet"])
def test_every_kind_of_file_gives_the_same_questions(write, tmp_path, ending):
    import polars

    path = tmp_path / f"rows.{ending}"
    if ending == "parquet":
        polars.DataFrame(ROWS).write_parquet(path)
    elif ending == "json":
        path.write_text(json.dumps(ROWS, ensure_ascii=False), "utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), "utf-8")
    kind = "parquet" if ending == "parquet" else "json"
    other = OwnTask(write(dataset_path=kind, dataset_kwargs={"data_files": {"test": path.name}}))
    assert other.rows().rows == OwnTask(write()).rows().rows


def test_a_list_of_choices_may_be_a_field_or_a_template(write, tmp_path):
    rows = [{"soru": "x?", "cevaplar": ["a", "b", "c"], "dogru": 2}]
    (tmp_path / "r.jsonl").write_text(json.dumps(rows[0]) + "\n", "utf-8")
    own = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "r.jsonl"}}}
    own["metadata"] = {}
    for words in ("cevaplar", "{{cevaplar}}", "{{ cevaplar | list }}"):
        found = OwnTask(write(**own, doc_to_choice=words)).rows()
        assert found.rows[0]["choices"] == ["a", "b", "c"]
        assert found.rows[0]["gold"] == 2


def test_the_good_text_of_a_pair_has_no_fixed_place(write, tmp_path):
    rows = [{"iyi": f"Ali eve gitti {n}.", "kotu": f"Ali evi gitti {n}."} for n in range(200)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "ciftler.jsonl").write_text(text, "utf-8")
    found = OwnTask(write(PAIRS)).rows().rows
    for row, raw in zip(found, rows, strict=True):
        assert row["choices"][row["gold"]] == raw["iyi"]
        assert row["context"] == ""
    assert 70 <= Counter(row["gold"] for row in found)[0] <= 130, "or a constant answer would win"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"doc_to_text": "{{sorru}}"}, "row 1: `doc_to_text`: 'sorru' is undefined; the row has"),
        ({"doc_to_text": "{{soru"}, "`doc_to_text`: unexpected end of template"),
        ({"doc_to_text": None}, "`doc_to_text` is missing"),
        ({"doc_to_target": "cevap"}, "`doc_to_target` gives 'cevap', which is no choice"),
        ({"doc_to_target": 2}, "row 1: `doc_to_target` gives 2; the choices are 0 to 1"),
        ({"doc_to_target": "-1"}, "`doc_to_target` gives -1"),
        ({"doc_to_choice": ["{{a}}"]}, "`doc_to_choice` gives 1 choices; need 2 or more"),
        ({"doc_to_choice": ["{{a}}", "{{a}}"]}, "two choices are the same"),
        ({"doc_to_choice": ["{{a}}", " "]}, "choice 1 is empty"),
        ({"doc_to_choice": "soru"}, "gives a text where a list is wanted"),
        ({"doc_to_chioce": "x"}, "unknown key `doc_to_chioce`"),
        ({"task": "Soru Bankası"}, "`task` = 'Soru Bankası'"),
        ({"task": "news_cat"}, "is a set of this project"),
        ({"task": "standin_mrc4_from_xquad_tr"}, "is a set of this project"),
        ({"output_type": "generate_until"}, "`output_type` = 'generate_until'"),
        ({"test_split": "validation"}, "names no file of the split 'validation'"),
        ({"dataset_kwargs": {"data_files": {"test": "yok.csv"}}}, "yok.csv does not exist"),
        ({"metadata": {"rows": 4}}, "`metadata.rows` = 4, but sorular.csv has 3 rows"),
        ({"metadata": {"sha256": "0" * 64}}, "`metadata.sha256` is 000"),
        ({"metadata": {"cluster": "konular"}}, "there is no field `konular`"),
        ({"metadata": {"kind": "minimal_pairs"}}, "leave `doc_to_text` out"),
        ({"rows": [*ROWS, ROWS[0]]}, "row 4: the id 1 stands there before"),
        ({"rows": []}, "holds no rows"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_mistake_is_one_line_that_names_file_and_key(write, changes, said):
    with pytest.raises(UserError) as caught:
        OwnTask(write(**changes)).rows()
    message = str(caught.value)
    assert said in message.replace('"', "'") or said in message
    assert ".yaml" in message or "sorular.csv" in message
    assert "\n" not in message


def test_a_template_cannot_reach_the_machine(write):
    path = write(doc_to_text="{{ soru.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(UserError, match="doc_to_text"):
        OwnTask(path).rows()


def test_items_are_looked_for_in_training_text(write, make_params):
    long = "Türkiye Cumhuriyeti'nin ilk cumhurbaşkanı olan kişi hangi şehirde ve hangi yılda doğdu?"
    rows = [{**row, "soru": f"{long} {row['id']}"} for row in ROWS]
    found = OwnTask(write(rows=rows)).rows()
    rules = make_params().corpus.contamination
    assert findable_rows(found, rules) == {form: [1, 2, 3] for form in FORMS}


def test_parts_and_clusters_may_come_from_the_name_of_a_file(write, tmp_path):
    path = write(
        dataset_kwargs={"data_files": {"test": ["bir.csv", "iki.csv"]}, "sep": "|"},
        metadata={"cluster": "konu", "parts": "{{ source }}-{{ konu | upper }}"},
    )
    for name, rows in (("bir", ROWS[:2]), ("iki", ROWS[2:])):
        lines = ["|".join(ROWS[0]), *("|".join(row.values()) for row in rows)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines).replace('"', ""), "utf-8")
    found = OwnTask(path).rows()
    assert [row["part"] for row in found.rows] == ["bir-YER", "bir-YIL", "iki-YER"]
    assert [row["cluster"] for row in found.rows] == ["yer", "yıl", "yer"]
    assert [row["row"] for row in found.rows] == [1, 2, 3], "numbers run over all files"
    assert "part" not in OwnTask(write()).rows().rows[0], "a task without parts keeps its digest"
    with pytest.raises(UserError, match=r"row 1: `metadata.parts`: 'yok' is undefined"):
        OwnTask(write(metadata={"parts": "{{ yok }}"})).rows()
