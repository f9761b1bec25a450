"""Fingerprints of code, parameters, data and machine."""

import hashlib
import subprocess

import pytest

from diffutron.runtime import provenance

GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]


@pytest.fixture
def checkout(tmp_path):
    """A repository with one commit."""
    (tmp_path / "code.py").write_text("x = 1\n")
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/a.json").write_text("{}")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*GIT, *command], cwd=tmp_path, check=True)
    return tmp_path


def test_a_clean_checkout(checkout):
    code = provenance.code(checkout)
    assert code.dirty is False
    assert code.sha is not None
    assert len(code.sha) == 40


def test_what_runs_write_does_not_make_it_dirty(checkout):
    (checkout / "metrics/a.json").write_text('{"a": 1}')
    (checkout / "dvc.lock").write_text("schema: '2.0'\n")
    (checkout / "params.yaml").write_text("seed: 14\n")  # which the run keeps
    assert provenance.code(checkout).dirty is False
    (checkout / "code.py").write_text("x = 2\n")
    assert provenance.code(checkout).dirty is True


def test_a_folder_without_git_records_nothing(tmp_path, monkeypatch, capsys):
    assert provenance.code(tmp_path) == provenance.Code(None, None)
    monkeypatch.setenv("PATH", "")
    assert provenance.code(tmp_path) == provenance.Code(None, None)
    assert capsys.readouterr().err == ""


def test_a_git_that_refuses_is_told(checkout, monkeypatch, capsys):
    """In a container the checkout may belong to another user. The switch is git's own."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert provenance.code(checkout) == provenance.Code(None, None)
    (line,) = capsys.readouterr().err.splitlines()
    assert "the commit is not recorded; git rev-parse: fatal: detected dubious ownership" in line
    assert line.endswith(f"allow it: git config --global --add safe.directory {checkout}")


def test_the_lock_file_gives_a_hash_and_the_outputs(tmp_path):
    lock = tmp_path / "dvc.lock"
    assert provenance.lock_digest(lock) is None
    assert provenance.stage_outputs(lock) == {}
    lock.write_text(
        "schema: '2.0'\nstages:\n  corpus:\n    cmd: x\n    outs:\n"
        "    - path: data/corpus\n      md5: abc.dir\n    - path: unhashed\n  params:\n    cmd: y\n"
    )
    assert provenance.lock_digest(lock) == hashlib.md5(lock.read_bytes()).hexdigest()
    assert provenance.stage_outputs(lock) == {"corpus": {"data/corpus": "abc.dir"}, "params": {}}


def test_the_machine_is_described():
    machine = provenance.machine()
    assert machine.cores >= 1
    assert machine.processor
    assert machine.libraries["torch"]
    assert machine.memory_gib is None or machine.memory_gib > 0


def test_a_field_of_the_processor_is_read_from_the_system(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nvendor_id\t: AuthenticAMD\nvendor_id\t: other\n")
    assert provenance.processor("vendor_id", path) == "AuthenticAMD"
    path.write_text("processor\t: 0\nBogoMIPS\t: 50\n")
    assert provenance.processor("vendor_id", path) is None
    assert provenance.processor("vendor_id", tmp_path / "none") is None
