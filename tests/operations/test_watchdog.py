"""A launcher that outlives its ranks is ended; one that ends, or waits for its first, is not."""

import signal
import subprocess
import sys

import psutil
import pytest

from diffutron.operations import watchdog

pytestmark = pytest.mark.slow

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"


def rank(seconds: float) -> str:
    code = f"import time; time.sleep({seconds})"
    return f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{code}']);"


@pytest.fixture
def watch(monkeypatch, capfd):
    """`watch("code", grace=0.2)`: exit code and errors of the watchdog over a launcher."""
    monkeypatch.setattr(watchdog, "KILL_AFTER", 0.5)
    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    handlers[signal.SIGHUP] = signal.getsignal(signal.SIGHUP)

    def call(code: str, *, grace: float) -> tuple[int, str]:
        words = ["watchdog", str(grace), sys.executable, "-c", code]
        monkeypatch.setattr(sys, "argv", words)
        return watchdog.main(), capfd.readouterr().err

    yield call
    for each, handler in handlers.items():
        signal.signal(each, handler)


@pytest.mark.parametrize("code", [0, 3])
def test_a_launcher_that_ends_keeps_its_exit_code(watch, code):
    assert watch(f"raise SystemExit({code})", grace=0.2) == (code, "")


def test_a_launcher_that_waits_for_its_first_rank_is_left_alone(watch):
    assert watch("import time; time.sleep(2)", grace=0.1) == (0, "")


def test_a_deaf_launcher_without_ranks_is_ended(watch):
    # The rank must be seen once: it lasts longer than the poll.
    code, told = watch(DEAF + rank(2) + "time.sleep(600)", grace=0.5)
    assert code == 1
    assert "has had no rank for 0.5 s" in told
    assert not psutil.Process().children()


def test_a_watchdog_that_is_stopped_ends_the_launcher_and_its_ranks():
    code = f"print('up', flush=True); {rank(600)}"
    command = [
        sys.executable,
        "-m",
        "diffutron.operations.watchdog",
        "60",
        sys.executable,
        "-c",
        code,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    below = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    assert process.wait(20) == 128 + signal.SIGTERM
    assert not [one for one in below if is_alive(one)]


def is_alive(process: psutil.Process) -> bool:
    """An orphan that has ended may stay a zombie until the machine's first process reaps it."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
