"""A guarded command leaves no process behind, whoever is killed and however."""

import os
import shlex
import signal
import subprocess
import sys
import uuid

import psutil
import pytest

from diffutron.operations.guard import guarded

pytestmark = pytest.mark.slow

# A child that is a session of its own and deaf to SIGTERM, as a rank that hangs may be.
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up")
time.sleep(600)
"""
TREE = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-uc", {DEAF!r}, sys.argv[1]],
                         start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
print("ready", flush=True)
time.sleep(float(sys.argv[2]))
"""


def survivors(mark: str) -> list[psutil.Process]:
    """The processes whose command line holds the mark."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if mark in (process.info["cmdline"] or []) and process.info["status"] != "zombie":
            found.append(process)
    return found


def wait_gone(mark: str) -> bool:
    """Whether all of them end within 10 s; whatever is left is killed."""
    left = psutil.wait_procs(survivors(mark), timeout=10)[1]
    for process in left:
        process.kill()
    return not left


@pytest.fixture
def mark():
    name = uuid.uuid4().hex
    yield name
    for process in survivors(name):
        process.kill()


def start(mark: str, seconds: float) -> "subprocess.Popen[bytes]":
    """The tree under a guard, once its deaf child is there."""
    command = guarded([sys.executable, "-c", TREE, mark, str(seconds)], grace=0.2)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    # Two guards, the deaf child, and the command unless it has ended.
    assert len(survivors(mark)) == 4 or seconds == 0
    return process


def below(guard: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """The second guard, the command and its child, from the top."""
    return psutil.Process(guard.pid).children(recursive=True)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stopping_the_guard_ends_the_tree(mark, signum):
    guard = start(mark, 600)
    guard.send_signal(signum)
    assert guard.wait(timeout=20) == 128 + signum
    assert not survivors(mark)


def test_a_killed_command_takes_its_tree_with_it(mark):
    guard = start(mark, 600)
    below(guard)[1].kill()
    assert guard.wait(timeout=20) == 128 + signal.SIGKILL
    assert not survivors(mark)


def test_a_killed_guard_takes_the_tree_with_it(mark):
    guard = start(mark, 600)
    guard.kill()
    assert wait_gone(mark)


def test_a_killed_second_guard_takes_the_tree_with_it(mark):
    guard = start(mark, 600)
    below(guard)[0].kill()
    assert guard.wait(timeout=20) == 128 + signal.SIGKILL
    assert not survivors(mark)


def test_what_a_finished_command_left_ends_with_it(mark):
    guard = start(mark, 0)
    assert guard.wait(timeout=20) == 0
    assert not survivors(mark)


def test_a_killed_parent_takes_the_tree_with_it(mark):
    code = (
        "import subprocess, sys\n"
        "from diffutron.operations.guard import guarded\n"
        "tree, mark = sys.argv[1:]\n"
        "subprocess.run(guarded([sys.executable, '-c', tree, mark, '600'], grace=0.2))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, TREE, mark], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    parent.kill()
    assert wait_gone(mark)


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_a_stage_ends_with_the_dvc_that_runs_it(mark, monkeypatch, shell):
    """Bash hands its process on to the command, dash stays between."""
    monkeypatch.setenv("DVC_STAGE", "pretrain")
    stage = (
        "import time; from diffutron.cli import app as cli; "
        "cli.app = lambda: (print('ready', flush=True), time.sleep(600)); cli.main()"
    )
    code = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    command = [shell, "-c", shlex.join([sys.executable, "-c", stage, mark])]
    dvc = subprocess.Popen([sys.executable, "-c", code, *command], stdout=subprocess.PIPE)
    assert dvc.stdout is not None
    assert dvc.stdout.readline() == b"ready\n"
    assert survivors(mark)
    dvc.kill()
    assert wait_gone(mark)


def test_a_parent_that_is_already_gone_starts_nothing():
    command = guarded([sys.executable, "-c", "print('started')"])
    command[3] = "1"  # not the process that starts it
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "")


@pytest.mark.parametrize(("code", "seen"), [(0, 0), (3, 3)])
def test_the_exit_code_is_that_of_the_command(code, seen):
    command = guarded([sys.executable, "-c", f"raise SystemExit({code})"])
    assert subprocess.run(command).returncode == seen


def test_a_command_that_does_not_exist_is_said():
    done = subprocess.run(guarded(["/no/such/command"]), capture_output=True, text=True)
    assert done.returncode == 127
    assert done.stderr == "error: cannot start /no/such/command: No such file or directory\n"


def test_no_environment_is_lost():
    command = guarded([sys.executable, "-c", "import os; print(os.environ['MARK'])"])
    done = subprocess.run(command, env={**os.environ, "MARK": "ğ"}, capture_output=True, text=True)
    assert done.stdout == "ğ\n"
