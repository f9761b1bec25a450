"""One reader of JSON lines: what ends a line, what is no data, and what a fault says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffutron.runtime.errors import UserError
from diffutron.runtime.json_lines import NotJson, parse_lines, read_json_lines


@given(st.lists(st.dictionaries(st.text(), st.text(), max_size=3), max_size=5), st.booleans())
def test_what_was_written_is_read(tmp_path_factory, rows, mark):
    path = tmp_path_factory.mktemp("lines") / "rows.jsonl"
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + text.encode())
    assert list(read_json_lines(path)) == list(enumerate(rows, 1))


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x1e", "\x0b", "\x0c"])
def test_only_a_line_feed_ends_a_line(tmp_path, separator):
    path = tmp_path / "rows.jsonl"
    row = f'{{"text": "a{separator}b"}}' if separator > " " else '{"text": "ab"}'
    path.write_text(f"{row}\n\n{row}\r\n", encoding="utf-8", newline="")
    assert [number for number, _ in read_json_lines(path)] == [1, 3]


@pytest.mark.parametrize(
    ("line", "reason"),
    [(b"\xff", "not UTF-8 \\(byte 1"), (b"{", "not JSON"), (b"[" * 10**5, "not JSON")],
)
def test_a_fault_names_its_line(tmp_path, line, reason):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{}\n" + line + b"\n{}\n")
    with pytest.raises(UserError, match=f"rows.jsonl, line 2: {reason}.*; mend it"):
        list(read_json_lines(path, advice="mend it"))
    found = [isinstance(value, NotJson) for _, value in parse_lines(path.open("rb"))]
    assert found == [False, True, False]


def test_an_absent_file_is_said(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        list(read_json_lines(tmp_path / "none.jsonl"))
