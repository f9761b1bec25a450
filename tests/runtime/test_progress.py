"""Progress: plain lines when nobody watches, a bar on a terminal."""

import io

from diffutron.runtime import progress
from diffutron.runtime.progress import Progress, track


def test_plain_lines_say_speed_and_time_left(monkeypatch, capsys):
    clock = iter(range(0, 1000, 3))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    assert list(track(range(4), total=4, desc="corpus", unit="doc")) == [0, 1, 2, 3]
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("corpus: 4/4 (100 %)")
    assert "doc/s" in lines[0]
    assert "left" in lines[0]


def test_a_resumed_run_counts_its_own_speed(monkeypatch):
    monkeypatch.setattr(progress.time, "monotonic", lambda: 0.0)
    bar = Progress(total=100, desc="pretrain", unit="step", initial=90)
    monkeypatch.setattr(progress.time, "monotonic", lambda: 5.0)
    bar.update(5, postfix={"loss": 1.5})
    assert bar.line() == "pretrain: 95/100 (95 %), 1.0 step/s, 0:00:05 left, loss 1.5"


def test_what_cost_nothing_is_no_speed(monkeypatch):
    monkeypatch.setattr(progress.time, "monotonic", lambda: 0.0)
    bar = Progress(total=100, desc="leaderboard", unit="item")
    monkeypatch.setattr(progress.time, "monotonic", lambda: 5.0)
    bar.skip(90)
    bar.update(5)
    assert bar.line() == "leaderboard: 95/100 (95 %), 1.0 item/s, 0:00:05 left"


def test_a_terminal_gets_a_bar(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    with Progress(total=3, desc="merge") as bar:
        bar.skip(1)
        bar.update(2)
    assert "3/3" in terminal.getvalue()
    assert "merge" in terminal.getvalue()


def test_a_quiet_one_prints_nothing(capsys):
    with Progress(total=2, desc="merge", enabled=False) as bar:
        bar.update(2)
    assert capsys.readouterr().out == ""
