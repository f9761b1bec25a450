"""Rows of one's own: three forms, each row kept or counted, near copies on one side."""

import json
from collections import Counter

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from diffutron.inference.prompts import chat_encoder
from diffutron.runtime.errors import UserError
from diffutron.tuning.rows import files_of, prepare, read_rows
from diffutron.tuning.settings import settings

ODD = [
    None, 3, "text", [], {}, {"instruction": "Soru?"}, {"instruction": 1, "output": "x"},
    {"instruction": "Soru?", "input": None, "output": "yanıt"}, {"Input": "a", "Output": "b"},
    {"Input": "a", "Output": ""}, {"instruction": "", "output": "boş"}, {"messages": []},
    {"messages": [{"role": "user", "content": "Selam"}]}, {"messages": "x"},
    {"messages": [{"role": "user", "content": "Selam"}, {"role": "assistant", "content": "Sana"}]},
    {"instruction": "Uzun", "output": "çok " * 300}, {"prompt": "p", "completion": "c"},
    {"instruction": "Say", "output": "bir iki üç dört beş altı yedi sekiz,"},
    {"instruction": "Dil?", "output": "This answer is written in the English language, clearly."},
]  # fmt: skip


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def good(number):
    names = ("su", "yol", "park")
    return [
        {"instruction": f"{number} numaralı istek {i}", "output": names[i % 3]}
        for i in range(number)
    ]


@pytest.fixture(scope="module")
def encode(tiny_tokenizer_dir):
    return chat_encoder(tiny_tokenizer_dir)


def prepared(files, encode, *overrides):
    found = read_rows(files)
    prepare(found, encode, settings(overrides, chosen={"max_tokens": 128}), sized=True)
    return found


@pytest.mark.slow
@hypothesis_settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(ODD), max_size=30))
def test_rows_in_are_rows_out_and_rows_counted(encode, tmp_path_factory, odd):
    path = write(tmp_path_factory.mktemp("rows") / "odd.jsonl", good(12) + odd)
    found = prepared([path], encode, "language.kept=[tr]", "language.min_words=6")
    counts = found.counts
    assert counts["read"] == 12 + len(odd)
    assert counts["train"] + counts["heldout"] + sum(found.dropped.values()) == counts["read"]
    assert counts["train"] >= 1
    assert counts["heldout"] >= 1


def test_each_reason_is_named(encode, tmp_path):
    path = write(tmp_path / "odd.jsonl", [*good(12), *ODD, ODD[8]])
    found = prepared([path], encode, "language.kept=[tr]", "language.min_words=6")
    assert set(found.dropped) == {
        "bad_line", "empty", "truncated", "duplicate", "language", "too_long",
    }  # fmt: skip
    assert found.dropped["duplicate"] == 1
    assert "odd.jsonl line 13: a NoneType, not an object" in found.bad_examples
    # No row goes for its language unless that is asked for.
    assert "language" not in prepared([path], encode).dropped


def test_every_file_kind_gives_the_same_rows(encode, tmp_path):
    rows = good(20)
    write(tmp_path / "a.jsonl", rows)
    (tmp_path / "b.json").write_text(json.dumps(rows))
    table = pa.Table.from_pylist(rows)
    pyarrow.parquet.write_table(table, tmp_path / "c.parquet")
    pyarrow.csv.write_csv(table, tmp_path / "d.csv")
    asked = [
        [(row.prompt, row.answer) for row in read_rows([path]).rows] for path in files_of(tmp_path)
    ]
    assert len(asked) == 4
    assert all(one == asked[0] for one in asked)


def test_the_three_forms_ask_alike(encode, tmp_path):
    forms = [
        {"instruction": "Soru?", "input": "Metin.", "output": "Yanıt"},
        {"Input": "Soru?\nMetin.", "Output": "Yanıt"},
        {"messages": [
            {"role": "user", "content": "Soru?\nMetin."},
            {"role": "assistant", "content": "Yanıt"},
        ]},
    ]  # fmt: skip
    found = read_rows([write(tmp_path / "forms.jsonl", forms)])
    assert {(row.prompt, row.answer) for row in found.rows} == {("Soru?\nMetin.", "Yanıt")}


def test_a_conversation_keeps_its_turns(encode, tmp_path):
    messages = [
        {"role": "system", "content": "Kısa yaz."},
        {"role": "user", "content": "Selam"},
        {"role": "assistant", "content": "Selam!"},
        {"role": "user", "content": "Nasılsın?"},
        {"role": "assistant", "content": "İyiyim."},
    ]
    path = write(tmp_path / "chats.jsonl", [*good(12), {"messages": messages}])
    found = prepared([path], encode)
    row = next(row for row in found.rows if row.turns)
    assert row.answer == "İyiyim."
    assert [role for role, _ in row.turns] == ["system", "user", "assistant", "user"]
    assert row.split


def test_near_copies_stand_on_one_side(encode, tmp_path):
    letters = "abcdefgh"
    texts = [" ".join(one + two + three for two in letters for three in "xyz") for one in letters]
    rows = [
        {"instruction": f"küme {copy} {text}", "output": f"y{k}"}
        for k, text in enumerate(texts)
        for copy in ("sabah", "akşam")
    ]
    found = prepared([write(tmp_path / "near.jsonl", [*rows, *good(20)])], encode)
    sides: dict[str, set[str]] = {}
    for row in found.rows:
        if row.prompt.startswith("küme"):
            sides.setdefault(row.answer, set()).add(row.split)
    assert len(sides) == 8
    assert all(len(split) == 1 for split in sides.values())


def test_labels_are_held_out_by_their_share(encode, tmp_path):
    found = prepared([write(tmp_path / "labels.jsonl", good(120))], encode)
    held = Counter(row.answer for row in found.of("heldout"))
    assert sum(held.values()) == 12
    assert set(held.values()) == {4}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.jsonl", None, "there is no such file"),
        ("notes.txt", "metin", "must end in one of"),
        ("empty.jsonl", "", "is empty (0 bytes)"),
        ("other.jsonl", '{"prompt": "p", "completion": "c"}\n', "it has prompt, completion"),
        ("words.jsonl", "not json\n" * 3, "none of 3 rows can be used"),
    ],
)
def test_what_holds_no_rows_is_one_line(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as error:
        read_rows(files_of(tmp_path / name))
    assert said in str(error.value)
    assert name in str(error.value)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_so_few_rows(encode, tmp_path, number):
    path = write(tmp_path / "few.jsonl", good(number))
    if number == 1:
        with pytest.raises(UserError, match="1 of 1 rows are left"):
            prepared([path], encode)
    else:
        assert prepared([path], encode).counts["heldout"] == 1


def test_rows_that_are_all_alike_cannot_be_split(encode, tmp_path):
    rows = [{"instruction": "aynı soru", "output": f"yanıt {i}"} for i in range(9)]
    with pytest.raises(UserError, match="cannot be held out"):
        prepared([write(tmp_path / "alike.jsonl", rows)], encode)
