"""What a killed DVC left in its lock file is dropped; a DVC that is at work keeps its lock."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffutron.operations.dvc_lock import drop_dead_locks

LOCK = Path(".dvc/tmp/rwlock")


def holding(pid: int) -> str:
    """The file of a DVC that writes one output and reads another."""
    info = {"pid": pid, "cmd": "dvc repro"}
    return json.dumps({"read": {"/project/a": [info]}, "write": {"/project/b": info}})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    LOCK.parent.mkdir(parents=True)


def test_a_file_cut_anywhere_is_removed():
    whole = holding(os.getpid())
    for end in range(len(whole)):
        LOCK.write_text(whole[:end])
        drop_dead_locks()
        assert not LOCK.exists(), whole[:end]


def test_without_a_file_there_is_nothing_to_do():
    drop_dead_locks()
    assert [*LOCK.parent.iterdir()] == []


@pytest.mark.parametrize("text", ["{}", '{"read": {}, "write": {}}'])
def test_a_file_in_which_nobody_holds_anything_stays(text):
    LOCK.write_text(text)
    drop_dead_locks()
    assert LOCK.exists()


def test_the_number_of_another_process_is_no_lock():
    LOCK.write_text(holding(1))
    drop_dead_locks()
    assert not LOCK.exists()


def test_a_dvc_that_is_alive_keeps_its_lock():
    wait = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", wait, "dvc"], stdin=subprocess.PIPE) as dvc:
        LOCK.write_text(holding(dvc.pid))
        drop_dead_locks()
        assert LOCK.read_text() == holding(dvc.pid)
    drop_dead_locks()
    assert not LOCK.exists()
