"""A launcher that outlives its ranks is ended; one that ends, or waits for its first, is not."""

import subprocess
import sys

import pytest

from diffutron.watchdog import watch

RANK = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'pass']);"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"


@pytest.mark.parametrize("code", [0, 3])
def test_a_launcher_that_ends_keeps_its_exit_code(code):
    assert watch([sys.executable, "-c", f"raise SystemExit({code})"], grace=0.2) == code


def test_a_launcher_that_waits_for_its_first_rank_is_left_alone():
    assert watch([sys.executable, "-c", "import time; time.sleep(2)"], grace=0.1) == 0


def test_a_deaf_launcher_without_ranks_is_ended(capfd):
    stuck = DEAF + RANK + "time.sleep(600)"
    # The rank must be seen once: it lasts longer than the poll.
    stuck = stuck.replace("'pass'", "'import time; time.sleep(2)'")
    assert watch([sys.executable, "-c", stuck], grace=0.5, kill_after=0.5) == 1
    assert "has had no rank for 0.5 s" in capfd.readouterr().err


def test_as_a_command():
    command = [sys.executable, "-m", "diffutron.watchdog", "5"]
    done = subprocess.run([*command, sys.executable, "-c", "print('ran')"], capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"ran\n")
