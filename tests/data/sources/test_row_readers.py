"""Every kind of file, and every way in which a line or a file can be bad."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from diffutron.data.sources.row_readers import BadLine, RawRow, list_files, read_file
from diffutron.runtime.errors import UserError

ROWS = [{"text": f"Satır {number}: ılık İzmir."} for number in range(50)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def write(folder, name: str, content: bytes):
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.jsonl", bytes),
        ("a.jsonl.gz", gzip.compress),
        ("a.jsonl.zst", zstandard.ZstdCompressor().compress),
    ],
)
def test_json_lines_plain_and_packed(tmp_path, name, pack):
    rows = list(read_file(write(tmp_path, name, pack(LINES))))
    assert rows == [RawRow(name, number, row) for number, row in enumerate(ROWS, 1)]


def test_packed_files_of_several_members(tmp_path):
    for name, pack in [
        ("a.jsonl.gz", gzip.compress),
        ("a.jsonl.zst", zstandard.ZstdCompressor().compress),
    ]:
        assert len(list(read_file(write(tmp_path, name, pack(LINES) + pack(LINES))))) == 100


def test_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["bir", None], "other": [1, 2]}), path)
    assert [row.values for row in read_file(path)] == [
        {"text": "bir", "other": 1},
        {"text": None, "other": 2},
    ]


def test_text_blocks(tmp_path):
    content = "bir\niki\n\n\n  \nüç\n".encode() + b"\nd\xffrt\nbe\xff\n\n" + "altı".encode()
    assert list(read_file(write(tmp_path, "a.txt", content))) == [
        RawRow("a.txt", 1, {"text": "bir\niki\n"}),
        RawRow("a.txt", 6, {"text": "üç\n"}),
        BadLine("a.txt", 8, "not UTF-8 (byte 2)"),
        RawRow("a.txt", 11, {"text": "altı"}),
    ]


def test_bad_lines_cost_nothing_but_themselves(tmp_path):
    bad = [b'{"text": "\xff"}', b"{'text': 1}", b'["text"]', b'{"text": "x"', b"[" * 100_000]
    good = LINES.splitlines()
    content = b"\xef\xbb\xbf" + b"\n".join([good[0], bad[0], b"", *good[1:3], *bad[1:], good[3]])
    rows = list(read_file(write(tmp_path, "a.jsonl", content)))
    kept = [row.values for row in rows if isinstance(row, RawRow)]
    assert kept == ROWS[:4]
    found = [(row.line, row.why.split(" (")[0]) for row in rows if isinstance(row, BadLine)]
    assert found == [
        (2, "not UTF-8"),
        (6, "not JSON"),
        (7, "a list, not an object"),
        (8, "not JSON"),
        (9, "not JSON"),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b""),
        ("a.jsonl.gz", b""),
        ("a.jsonl.gz", gzip.compress(LINES)[:-20]),
        ("a.jsonl.gz", b"not gzip"),
        ("a.jsonl.zst", zstandard.ZstdCompressor().compress(LINES)[:-20]),
        ("a.jsonl.zst", b"not zstd"),
        ("a.parquet", b"PAR1 not parquet PAR1"),
    ],
)
def test_empty_truncated_and_wrong_files_are_named(tmp_path, name, content):
    path = write(tmp_path, name, content)
    with pytest.raises(UserError, match=str(path)):
        list(read_file(path))


def test_listing(tmp_path):
    with pytest.raises(UserError, match=r"corpus\.source: folder .*absent does not exist"):
        list_files(tmp_path / "absent", setting="corpus.source")
    write(tmp_path, "notes.md", b"x")
    with pytest.raises(UserError, match=r"holds no file of \.jsonl"):
        list_files(tmp_path, setting="corpus.source")
    write(tmp_path, "b.txt", b"x")
    write(tmp_path, "a.jsonl.gz", b"x")
    assert [path.name for path in list_files(tmp_path, setting="x")] == ["a.jsonl.gz", "b.txt"]
