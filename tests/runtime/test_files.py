"""Outputs are complete or absent; earlier ones survive a failure."""

import errno
import os

import pytest

from diffutron.runtime.errors import UserError
from diffutron.runtime.files import (
    atomic_folder,
    content_digest,
    read_json,
    require_folder,
    write_json,
)


def test_a_folder_appears_whole_and_replaces_the_earlier_one(tmp_path):
    out = tmp_path / "data" / "corpus"
    for text in ("first", "second"):
        with atomic_folder(out) as work:
            (work / "file").write_text(text)
            assert work.parent == out.parent
        assert (out / "file").read_text() == text
    assert [p.name for p in out.parent.iterdir()] == ["corpus"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), UserError("x")])
def test_an_error_leaves_the_earlier_folder(tmp_path, error):
    out = tmp_path / "out"
    with atomic_folder(out) as work:
        (work / "file").write_text("earlier")

    def fail_half_way():
        with atomic_folder(out) as work:
            (work / "file").write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail_half_way()
    assert (out / "file").read_text() == "earlier"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="disk is full"), atomic_folder(tmp_path / "out"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match="Input/output"), atomic_folder(tmp_path / "out"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_json_round_trip_and_damage(tmp_path):
    path = tmp_path / "metrics" / "a.json"
    write_json(path, {"ş": 1, "a": [0.5, None]})
    assert read_json(path) == {"ş": 1, "a": [0.5, None]}
    assert list(read_json(path)) == ["ş", "a"]
    with pytest.raises(ValueError, match="Out of range"):
        write_json(path, {"x": float("nan")})
    assert read_json(path)["a"] == [0.5, None]
    path.write_text('{"a": ')
    with pytest.raises(UserError, match=r"a\.json is not valid JSON.*diffutron evaluate"):
        read_json(path, made_by="evaluate")
    with pytest.raises(UserError, match="does not exist; run `diffutron evaluate` first"):
        read_json(tmp_path / "none.json", made_by="evaluate")


def test_a_missing_folder_names_its_stage(tmp_path):
    assert require_folder(tmp_path, made_by="merge") == tmp_path
    with pytest.raises(UserError, match="run the stage `merge` first"):
        require_folder(tmp_path / "none", made_by="merge")


def test_the_digest_sees_names_and_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "x"
    file.write_bytes(b"1")
    digests = {content_digest([tmp_path / "a"])}
    file.write_bytes(b"2")
    digests.add(content_digest([tmp_path / "a"]))
    file.rename(tmp_path / "a" / "y")
    digests.add(content_digest([tmp_path / "a"]))
    digests.add(content_digest([tmp_path / "a" / "y"]))
    assert len(digests) == 4
