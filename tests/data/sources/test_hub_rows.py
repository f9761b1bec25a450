"""Rows of hub sets of every layout, against a hub on loopback."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffutron.config.section import HubRows
from diffutron.data.sources.hub_rows import open_split
from diffutron.data.sources.row_readers import BadLine, RawRow
from diffutron.data.sources.sources import (
    Document,
    Instruction,
    count_raw,
    raw_documents,
    raw_instructions,
)
from diffutron.runtime.errors import UserError
from diffutron.runtime.hub import HubError

ROWS = [{"text": "Bir."}, {"text": "İki."}, {"text": "Üç."}]


def parquet(rows: list[dict], **metadata: str) -> bytes:
    table = pa.Table.from_pylist(rows)
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata or None), sink)
    return sink.getvalue().to_pybytes()


def lines(rows: list[dict]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def put(hub):
    """`put({"train.jsonl": bytes})`: the data set a/b holds these files."""

    def write(files: dict[str, bytes | str], name: str = "a/b") -> None:
        for path, content in files.items():
            file = hub.store.folder / "datasets" / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)

    return write


def entry(**changes) -> HubRows:
    values = {"name": "a/b", "revision": "main", "split": "train"} | changes
    return HubRows(**values)


def read(columns=(), limit=None, **changes) -> list:
    return [*open_split(entry(**changes), setting="corpus.hub").rows(columns=columns, limit=limit)]


def fetched(hub) -> set[str]:
    got = (one["path"].rpartition("/")[2] for one in hub.log if one["method"] in ("GET", "HEAD"))
    return {name for name in got if "." in name}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.jsonl", lines(ROWS)),
        ("data.json", lines(ROWS)),
        ("data.json", json.dumps(ROWS)),
        ("data.json", b"\xef\xbb\xbf" + json.dumps(ROWS).encode()),
        ("train.csv", 'text\nBir.\n"İki."\nÜç.\n'),
        ("train.tsv", "text\nBir.\nİki.\nÜç.\n"),
        ("data/train-00000-of-00001.parquet", parquet(ROWS)),
    ],
)
def test_each_kind_of_file(put, name, content):
    put({name: content})
    assert [row.values for row in read()] == ROWS
    assert [row.line for row in read()] == [1, 2, 3]


def test_numbers_of_a_table_are_numbers(put):
    put({"train.csv": 'text,label\n"a, b",1\n"c\nd",0\n'})
    assert [row.values for row in read()] == [
        {"text": "a, b", "label": 1},
        {"text": "c\nd", "label": 0},
    ]


def test_only_the_files_that_are_needed_are_fetched(hub, put):
    shards = {f"data/train-0000{n}-of-00003.parquet": parquet(ROWS) for n in range(3)}
    put({**shards, "data/test-00000-of-00001.parquet": parquet(ROWS), "weights.bin": b"x"})
    assert len(read(limit=4)) == 4
    first, second, third = shards
    names = {path.rpartition("/")[2] for path in (first, second)}
    assert {name for name in fetched(hub) if name.endswith(("parquet", "bin"))} == names
    hub.log.clear()
    assert len(read()) == 9
    assert third.rpartition("/")[2] in fetched(hub)
    assert not names & fetched(hub)


def test_columns_that_are_not_needed_do_no_harm(put):
    more = [{**row, "extra": {"deep": 1}} for row in ROWS]
    put(
        {
            "data/train-00000-of-00002.parquet": parquet(ROWS),
            "data/train-00001-of-00002.parquet": parquet(more),
        }
    )
    assert [row.values for row in read(columns=["text"])] == ROWS * 2


CONFIGS = """---
configs:
- config_name: v1
  data_files: [{split: train, path: v1/train.jsonl}]
- config_name: v2
  DEFAULT
  data_files: [{split: train, path: v2/train.jsonl}, {split: test, path: v2/test.jsonl}]
dataset_info:
- config_name: v2
  features: [{name: label, dtype: {class_label: {names: {'0': sport, '1': health}}}}]
  splits: [{name: train, num_examples: 77}]
---
"""


@pytest.fixture
def two_configs(put):
    put({f"v{n}/train.jsonl": lines([{"text": f"v{n}"}]) for n in (1, 2)})
    put({"v2/test.jsonl": lines([{"text": "test"}])})

    def card(default: str) -> None:
        text = CONFIGS.replace("DEFAULT", default)
        put({"README.md": text if default else text.partition("dataset_info")[0] + "---\n"})

    return card


def test_the_card_tells_configurations_and_splits(two_configs):
    two_configs("default: true")
    assert [row.values["text"] for row in read()] == ["v2"]
    assert [row.values["text"] for row in read(config="v1")] == ["v1"]
    assert [row.values["text"] for row in read(split="test")] == ["test"]
    found = open_split(entry(), setting="corpus.hub")
    assert (found.promised, found.class_names("label")) == (77, ["sport", "health"])
    with pytest.raises(UserError, match=r"corpus.hub: a/b @ main .* no split dev; .*train, test$"):
        read(split="dev")
    with pytest.raises(UserError, match=r"with config v3: .*not found.*'v1', 'v2'"):
        read(config="v3")
    two_configs("")
    with pytest.raises(UserError, match=r"with config None: .*Config name is missing.*'v1', 'v2'"):
        read()


def test_class_names_of_a_parquet_file(put):
    features = {"label": {"names": ["sport", "health"], "_type": "ClassLabel"}}
    metadata = json.dumps({"info": {"features": features}})
    put({"train.parquet": parquet([{"label": 1, "text": "Bir."}], huggingface=metadata)})
    found = open_split(entry(), setting="corpus.hub")
    assert found.class_names("label") == ["sport", "health"]
    assert found.class_names("text") == []


def test_the_export_of_the_hub(put):
    put({"tr/test/0000.parquet": parquet(ROWS), "tr/train/0000.parquet": parquet(ROWS[:1])},
        name="a/b@refs%2Fconvert%2Fparquet")  # fmt: skip
    put({"b.py": "script"})
    wanted = entry(revision="refs/convert/parquet", config="tr", split="test")
    found = open_split(wanted, setting="evaluate.source", export=True)
    assert [row.values for row in found.rows()] == ROWS
    with pytest.raises(HubError, match=r"evaluate.source: .* holds no file en/test/\*\.parquet"):
        open_split(
            wanted.model_copy(update={"config": "en"}), setting="evaluate.source", export=True
        )


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"train.jsonl": b""}, "train.jsonl is empty"),
        ({"train.csv": b"text\n"}, "split train holds no rows"),
        ({"data.json": b'[{"text": "Bir."}, {"te'}, "cannot be read to its end"),
        ({"train.parquet": b"PAR1 not"}, "cannot be read to its end"),
        ({"b.zip": b"x"}, r"holds no file of \.jsonl"),
    ],
)
def test_what_cannot_be_read_is_one_line(put, files, told):
    put(files)
    with pytest.raises(UserError, match=told) as caught:
        read()
    assert "\n" not in str(caught.value)


def test_bad_lines_are_told_and_counted(put):
    put({"train.jsonl": lines(ROWS[:1]) + b"nonsense\n[]\n"})
    assert [type(row) for row in read()] == [RawRow, BadLine, BadLine]


def corpus(make_params, *entries: dict):
    fields = {"field": "text", "group": "web"}
    return make_params(
        {"corpus.source": "hub", "corpus.hub": [entry().model_dump() | fields | e for e in entries]}
    ).corpus


def test_documents(put, make_params):
    put({"train.jsonl": lines([*ROWS, {"text": None}])})
    assert [*raw_documents(corpus(make_params, {"limit": 1}, {}), seed=1)] == [
        Document("Bir.", "a/b", "web", "a/b", 1),
        *(Document(row["text"], "a/b", "web", "a/b", n) for n, row in enumerate(ROWS, 1)),
        BadLine("a/b", 4, "'text' is not a text"),
    ]
    with pytest.raises(UserError, match=r"^corpus\.hub: a/b .* has no field 'body'; it has text"):
        [*raw_documents(corpus(make_params, {"field": "body"}), seed=1)]


@pytest.mark.parametrize(
    ("splits", "limits", "expected"),
    [
        ("{name: train, num_examples: 3}", (None, None), 6),
        ("{name: train, num_examples: 3}", (None, 2), 5),
        ("{name: test, num_examples: 3}", (None, None), None),
        ("{name: test, num_examples: 3}", (4, 2), 6),
    ],
)
def test_how_much_there_is_to_read(put, make_params, splits, limits, expected):
    card = f"---\ndataset_info: {{features: [], splits: [{splits}]}}\n---\n"
    put({"train.jsonl": lines(ROWS), "README.md": card})
    params = corpus(make_params, *({"limit": limit} for limit in limits))
    assert count_raw(params) == expected


def test_instructions_by_the_names_of_the_set(put, make_params):
    put({"train.jsonl": lines([{"soru": "Selam ver.", "cevap": "Selam", "kaynak": "x"}])})
    fields = {"instruction": "soru", "output": "cevap"}

    def rows(**changes) -> list:
        given = entry().model_dump() | {"fields": fields} | changes
        params = make_params({"instructions.source": "hub", "instructions.phase1": given})
        return [*raw_instructions(params.instructions, 1, seed=1)]

    assert rows() == [Instruction("Selam ver.", "Selam", "a/b", "a/b", 1)]
    assert rows(limit=1) == rows()
    with pytest.raises(UserError, match=r"phase1\.fields: a/b has no field 'x'; it has soru, ceva"):
        rows(fields={"instruction": "x"})
    assert [type(row) for row in rows(fields={})] == [BadLine]
