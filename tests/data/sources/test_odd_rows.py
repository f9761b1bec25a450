"""What lies in a folder is read or named; a bad value costs its row; each row counts once."""

import gzip
import json
import os
from itertools import permutations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffutron.data.sources import row_readers
from diffutron.data.sources.row_readers import KINDS, BadLine, RawRow, list_files, read_file
from diffutron.data.sources.sources import (
    Instruction,
    local_digest,
    raw_documents,
    raw_instructions,
)
from diffutron.runtime.errors import UserError

TEXTS = ["Değişim başladı.", "7", "Ilık İzmir’i gördü,\u2028sonra \u0085 döndü.", "null"]


def content(ending: str, rows: list[dict]) -> bytes:
    """The rows as a file of a kind."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    made = {
        ".json": json.dumps(rows, ensure_ascii=False, indent=1),
        ".csv": "text\n" + "".join(f'"{row["text"]}"\n' for row in rows),
        ".tsv": "text\n" + "".join(f"{row['text']}\n" for row in rows),
        ".txt": "\n\n".join(row["text"] for row in rows),
    }.get(ending, "\n".join(lines))
    return made.encode()


def write_kind(path, kind: str, rows: list[dict]):
    if kind == ".parquet":
        with path.open("wb") as stream:
            pq.write_table(pa.Table.from_pylist(rows), stream)
        return
    packed = next((one for one in (".gz", ".zst") if kind.endswith(one)), "")
    data = content(kind.removesuffix(packed), rows)
    pack = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress, "": bytes}[packed]
    path.write_bytes(pack(data))


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
    (tmp_path / "corpus").mkdir()
    return tmp_path / "corpus"


@pytest.fixture
def documents(make_params):
    def read():
        changes = {"corpus.source": "local", "corpus.digest": local_digest("corpus")}
        return list(raw_documents(make_params(changes).corpus, seed=1))

    return read


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", [str, str.upper])
def test_every_kind_of_file_is_read(corpus, documents, kind, change):
    write_kind(corpus / f"a{change(kind)}", kind, [{"text": text} for text in TEXTS])
    assert [one.text.removesuffix("\n") for one in documents()] == TEXTS


def test_each_entry_of_a_folder_is_read_or_named(corpus, documents, capsys):
    row_readers._say_once.cache_clear()
    (corpus / "a.jsonl").write_text('{"text": "Bir."}')
    (corpus / "._a.jsonl").write_bytes(b"\0\5\x16\7")
    (corpus / ".gitignore").write_text("x")
    (corpus / "d.docx").write_text("x")
    (corpus / "e.jsonl.xz").write_bytes(b"x")
    (corpus / "f").mkdir()
    (corpus / "g.parquet").mkdir()
    os.mkfifo(corpus / "h.jsonl")
    (corpus / "sources.yaml").write_text("sources: []")
    (corpus / "k.jsonl").symlink_to(corpus / "a.jsonl")
    assert [one.file for one in documents()] == ["a.jsonl", "k.jsonl"]
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for name in ("._a.jsonl (hidden)", "d.docx (unknown kind)", "e.jsonl.xz (unknown kind)"):
        assert name in said
    assert "f (a folder), g.parquet (a folder), h.jsonl (unknown kind)" in said
    documents()
    assert not capsys.readouterr().err


def test_a_folder_without_anything_to_read_names_what_there_is(corpus):
    (corpus / "d.docx").write_text("x")
    with pytest.raises(UserError, match=r"holds no file of \.jsonl.*not read: d\.docx \(unknown"):
        list_files(corpus, setting="corpus.source")


def test_a_link_to_nothing_is_named(corpus):
    (corpus / "b.jsonl").symlink_to("../.git/annex/objects/xx/SHA256E-s10--abc.jsonl")
    with pytest.raises(UserError, match=r"b\.jsonl is a link to \.\./\.git/annex.*fetch it"):
        local_digest("corpus")


def test_a_name_that_is_not_utf8_is_read_under_a_readable_one(corpus, documents):
    names = [f"türkçe{kind}" for kind in KINDS]
    for kind, name in zip(KINDS, names, strict=True):
        path = os.fsdecode(os.fsencode(corpus) + b"/" + name.encode("cp1254"))
        write_kind(Path(path), kind, [{"text": "Bir."}])
    found = documents()
    assert {one.file for one in found} == set(names)
    assert {one.source for one in found} == {"türkçe"}


BAD = "Değişim".encode("cp1254")


def strings(values: list[bytes | None]) -> pa.Array:
    """A column of strings that nobody checked, as other writers leave it."""
    binary = pa.array(values, pa.binary())
    return pa.StringArray.from_buffers(
        len(binary), binary.buffers()[1], binary.buffers()[2], binary.buffers()[0]
    )


BAD_FILES = {
    "a.jsonl": b"\n".join(b'{"text": "%s"}' % one for one in (b"bir", BAD, b"\xc3\xbc\xc3\xa7")),
    "a.csv": b"text\nbir\n" + BAD + b"\n\xc3\xbc\xc3\xa7\n",
    "a.tsv": b"text\tn\nbir\t1\n" + BAD + b"\t2\n\xc3\xbc\xc3\xa7\t3\n",
    "a.txt": b"bir\n\n" + BAD + b"\n\n\xc3\xbc\xc3\xa7",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bytes_that_are_no_text_cost_their_row(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(BAD_FILES[name])
    first, bad, last = read_file(path, texts=["text"])
    assert isinstance(bad, BadLine)
    assert "not UTF-8" in bad.why
    assert [row.values["text"].strip() for row in (first, last)] == ["bir", "üç"]


UNREADABLE = {
    "text": strings([b"bir", BAD, b"iki"]),
    "instant": pa.array([0, 2**60, 1], pa.timestamp("us")),
    "zone": pa.array([0, 2**60, 1], pa.timestamp("us", tz="Europe/Istanbul")),
    "day": pa.array([0, 2**30, 1], pa.date32()),
    "nested": pa.ListArray.from_arrays([0, 1, 2, 3], strings([b"bir", BAD, b"iki"])),
}


@pytest.mark.parametrize("column", UNREADABLE)
def test_a_value_of_parquet_that_cannot_be_read_costs_its_row(tmp_path, column):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({column: UNREADABLE[column], "n": [1, 2, 3]}), path)
    first, bad, last = read_file(path)
    assert isinstance(bad, BadLine)
    assert (bad.line, column in bad.why) == (2, True)
    assert (first.values["n"], last.values["n"]) == (1, 3)


def test_only_the_columns_that_are_needed_are_read(corpus, documents):
    bad = strings([BAD, BAD])
    pq.write_table(pa.table({"text": ["bir", "iki"], "other": bad}), corpus / "a.parquet")
    assert [one.text for one in documents()] == ["bir", "iki"]


def test_a_row_of_a_table_with_too_many_values_is_a_bad_line(tmp_path):
    (tmp_path / "a.csv").write_text("text,n\nbir,1\niki,2,3\nüç,3\n")
    rows = list(read_file(tmp_path / "a.csv"))
    assert [row.values["n"] for row in rows if isinstance(row, RawRow)] == [1, 3]
    assert [one.why for one in rows if isinstance(one, BadLine)] == ["3 values for 2 columns"]


ALPACA = {"instruction": "Topla.", "input": "1 2", "output": "3"}
PAIR = {"Input": "Çevir: red", "Output": "kırmızı"}
CHAT = {
    "messages": [
        {"role": "user", "content": "Ankara için 3 gün yeter mi?"},
        {"role": "assistant", "content": "Evet."},
    ]
}
BLANK = dict.fromkeys([*ALPACA, *PAIR, *CHAT, "phase"])


@pytest.fixture
def instruct(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
    (tmp_path / "instruct").mkdir()
    return tmp_path / "instruct"


@pytest.fixture
def by_phase(make_params):
    def read():
        changes = {"instructions.source": "local"}
        changes["instructions.digest"] = local_digest("instructions")
        params = make_params(changes).instructions
        return {phase: list(raw_instructions(params, phase, seed=1)) for phase in (1, 2)}

    return read


@pytest.mark.parametrize("blank", [{}, BLANK, dict.fromkeys(BLANK, float("nan"))])
@pytest.mark.parametrize("order", permutations([ALPACA, PAIR, CHAT]))
def test_the_form_of_a_row_is_what_it_holds(instruct, by_phase, blank, order):
    lines = [json.dumps({**blank, **row}) for row in order]
    (instruct / "a.jsonl").write_text("\n".join(lines))
    found = by_phase()
    assert [one.answer for one in found[1]] == ["3"]
    assert sorted(one.answer for one in found[2]) == ["Evet.", "kırmızı"]


def test_a_table_of_all_three_forms(instruct, by_phase):
    rows = [{**BLANK, **row} for row in (ALPACA, PAIR, CHAT)] * 12
    pq.write_table(pa.Table.from_pylist(rows), instruct / "a.parquet")
    found = by_phase()
    assert {phase: len(rows) for phase, rows in found.items()} == {1: 12, 2: 24}
    assert all(isinstance(one, Instruction) for rows in found.values() for one in rows)


@pytest.mark.parametrize(
    ("phase", "read_in"),
    [(1, 1), (2, 2), ("1", 1), ("2", 2), (2.0, 2), (None, 2), (3, None), ("iki", None), ([], None)],
)
def test_the_phase_of_a_chat(instruct, by_phase, phase, read_in):
    (instruct / "a.jsonl").write_text(json.dumps(CHAT | {"phase": phase}))
    (one,) = [one for rows in by_phase().values() for one in rows]
    if read_in is None:
        assert isinstance(one, BadLine)
        assert one.why.startswith("phase is 1 or 2, not ")
    else:
        assert [one] == by_phase()[read_in]


def test_what_is_wrong_with_a_row_is_told(instruct, by_phase):
    rows = [ALPACA | {"source": 5}, {"conversations": [{"from": "human", "value": "Ne?"}]}]
    (instruct / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert [one.why for one in by_phase()[1]] == [
        "source must be a text",
        "neither instruction/input/output nor Input/Output nor messages (role, content)",
    ]


VALUES = st.sampled_from([None, "", "metin", 5, True, [], {}, 2.5, float("nan"), ["x"]])
ODD_ROWS = st.one_of(
    st.sampled_from([ALPACA, PAIR, CHAT, CHAT | {"phase": 1}]),
    st.dictionaries(st.sampled_from([*BLANK, "source", "text"]), VALUES),
    st.sampled_from([ALPACA, PAIR, CHAT]).flatmap(
        lambda row: st.tuples(st.sampled_from(sorted(row)), VALUES).map(
            lambda change: {**row, change[0]: change[1]}
        )
    ),
)
LINES = st.one_of(
    ODD_ROWS.map(json.dumps), st.sampled_from(["[1]", "x", "3", '"a"', "{", '{"text": "\\ud83d"}'])
)


@given(st.lists(LINES, min_size=1, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_row_is_counted_once(instruct, by_phase, corpus, documents, lines):
    for folder in (instruct, corpus):
        (folder / "a.jsonl").write_text("\n".join(lines))
    found = [one for rows in by_phase().values() for one in rows]
    assert sorted(one.line for one in found) == list(range(1, len(lines) + 1))
    assert [one.line for one in documents()] == list(range(1, len(lines) + 1))
