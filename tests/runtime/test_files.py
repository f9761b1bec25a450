"""Outputs are complete or absent; earlier ones survive a failure."""

import errno
import os
import stat

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


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002])
def test_files_have_the_modes_of_the_umask(tmp_path, umask, monkeypatch):
    """However they were written; libraries write under temporary names that are private."""
    monkeypatch.setattr("diffutron.runtime.files._UMASK", umask)
    with atomic_folder(tmp_path / "model") as work:
        for private in (work / "weights", work / "more"):
            private.touch(mode=0o600) if private.name == "weights" else private.mkdir(mode=0o700)
    write_json(tmp_path / "a.json", {})
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    folder, file = 0o777 & ~umask, 0o666 & ~umask
    assert modes == {"model": folder, "more": folder, "weights": file, "a.json": file}


def test_a_path_below_a_file_is_a_user_error(tmp_path):
    (tmp_path / "notes").touch()
    with pytest.raises(UserError, match="is a file and no folder"):
        write_json(tmp_path / "notes" / "a.json", {})
    below = atomic_folder(tmp_path / "notes" / "a" / "b")
    with pytest.raises(UserError, match="is a file and no folder"), below:
        pass
    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match="a folder of this name"):
        write_json(tmp_path / "taken", {})


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
