"""The command line: help that teaches, one line and exit code 2 for a user's mistake."""

import errno
import os
import shlex
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from typer.main import get_command

from diffutron.cli import app as cli
from diffutron.cli.examples import EXAMPLES
from diffutron.runtime.errors import StageFailure, UserError


def run(monkeypatch, *words):
    """Exit code of `diffutron WORDS`, in this process."""
    monkeypatch.setattr(sys, "argv", ["diffutron", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code


def test_the_console_script_is_this_main():
    (script,) = (e for e in entry_points(group="console_scripts") if e.name == "diffutron")
    assert script.load() is cli.main


def test_help_lists_every_command_with_a_sentence(monkeypatch, capsys):
    assert run(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    for name, command in get_command(cli.app).commands.items():  # pyright: ignore
        assert (name in shown) != command.hidden
        assert command.help, name
        assert command.hidden or command.epilog, name
        for param in command.params:
            is_option = any(opt.startswith("--") for opt in param.opts)
            assert not is_option or param.help, f"{name} {param.opts}"


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("GOMP_SPINCOUNT", None, "300"),
        ("GOMP_SPINCOUNT", "7", "7"),
        ("OMP_WAIT_POLICY", "active", None),
    ],
)
def test_threads_that_wait_leave_the_core_to_others_soon(monkeypatch, name, given, expected):
    for each in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(each, "")  # so that it is as before in the end
        monkeypatch.delenv(each)
    if given:
        monkeypatch.setenv(name, given)
    assert run(monkeypatch, "--help") == 0
    assert os.environ.get("GOMP_SPINCOUNT") == expected


@pytest.mark.parametrize("words", [["nonsense"], ["merge", "--nonsense"], ["params"]])
def test_a_wrong_word_is_a_usage_error(monkeypatch, capsys, words):
    assert run(monkeypatch, *words) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_python_dash_m_is_the_same_command():
    done = subprocess.run(
        [sys.executable, "-m", "diffutron", "tokenizer", "--params", "none.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: none.yaml does not exist")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("a thing\nover two lines"), 2, "error: a thing over two lines\n"),
        (StageFailure("rank 1 was lost"), 1, "error: rank 1 was lost\n"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x"), 2, "error: cannot write x: the "),
        (PermissionError(errno.EACCES, "no", "y"), 2, "error: cannot write y: permission denied"),
    ],
)
def test_errors_end_with_one_line(monkeypatch, capsys, error, code, line):
    def fail(**_):
        raise error

    monkeypatch.setattr(cli, "app", fail)
    assert run(monkeypatch, "merge") == code
    shown = capsys.readouterr().err
    assert shown.startswith(line)
    assert shown.count("\n") == 1


def test_an_unexplained_error_keeps_its_traceback(monkeypatch):
    def fail(**_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(sys, "argv", ["diffutron"])
    with pytest.raises(OSError, match="Input/output"):
        cli.main()


def test_params_writes_the_file_and_says_so(monkeypatch, capsys, repo, tmp_path):
    monkeypatch.chdir(repo)
    out = tmp_path / "params.yaml"
    assert run(monkeypatch, "params", "--profile", "demo", "-S", "seed=7", "--out", out) == 0
    assert capsys.readouterr().out == f"{out} holds profile demo: seed: 13 -> 7\n"
    out.write_text(out.read_text("utf-8").replace("seed: 7", "seed: 8"), "utf-8")
    assert run(monkeypatch, "params", "--profile", "demo", "--out", out, "--keep-changes") == 2
    assert "changes made by hand" in capsys.readouterr().err
    assert run(monkeypatch, "params", "--profile", "demo", "--out", out) == 0
    assert "kept in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "line"), [(name, line) for name, lines in EXAMPLES.items() for line in lines]
)
def test_every_example_is_a_command_that_can_be(name, line):
    """Options and choices are those that there are; nothing runs."""
    words = shlex.split(line.partition(" | ")[0])
    if words[:2] == ["dvc", "repro"]:
        assert words[2:] == [name]
        return
    names = name.split()
    assert words[: len(names) + 1] == ["diffutron", *names]
    command = get_command(cli.app)
    for one in names:
        command = command.commands[one]  # pyright: ignore
    with command.make_context(name, words[len(names) + 1 :]) as context:
        assert context.params


def test_help_shows_the_examples_as_they_are_typed(monkeypatch, capsys):
    assert run(monkeypatch, "infill", "--help") == 0
    assert EXAMPLES["infill"][0] in capsys.readouterr().out
