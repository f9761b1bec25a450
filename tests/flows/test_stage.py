"""The subprocess runner: what it logs, what it says of a failure, what it leaves behind."""

import signal
import subprocess
import sys

import psutil
import pytest

from flows.stage import CommandFailed, cause_of, environment, exit_code, readable, run_command
from tests.support.processes import processes_in


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_lines_worth_logging():
    raw = [
        "Running stage 'pretrain':\n",
        "\r 10 %|#   \r 50 %|##  \r100 %|####\n",
        "\x1b[32mcolored\x1b[0m text\n",
        "\n",
        "/site/torch/x.py:3: FutureWarning: `a` is deprecated\n",
        "  warnings.warn(\n",
        "  an indented line of our own\n",
        "/site/torch/x.py:3: UserWarning: this one matters\n",
        "Setting ds_accelerator to cpu\n",
        "To track the changes with git, run:\n",
        "\tgit add dvc.lock\n",
        "\x00ends without a line feed",
    ]
    assert list(readable(raw)) == [
        "Running stage 'pretrain':",
        "100 %|####",
        "colored text",
        "  an indented line of our own",
        "/site/torch/x.py:3: UserWarning: this one matters",
        "\x00ends without a line feed",
    ]


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (["noise", "error: corpus.source is local", "ERROR: failed"], "corpus.source is local"),
        (
            ["[rank1]: RuntimeError: loss is NaN", "x.ChildFailedError:"],
            "RuntimeError: loss is NaN",
        ),
        (["torch.x.ChildFailedError: ", "last"], "last"),
        (["KeyError: 'a'", "RuntimeError: b"], "KeyError: 'a'"),
        (["ERROR: 'data' is busy", "last"], "'data' is busy"),
        (
            ["Usage: x", "╭ Error ──╮", "│ No such command 'y'.    │", "╰────╯"],
            "No such command 'y'.",
        ),
        (["first", "last"], "last"),
        ([], "no output"),
    ],
)
def test_the_cause_is_the_line_that_says_why(lines, cause):
    assert cause_of(lines, 2) == f"{cause} (exit code 2)"


@pytest.mark.parametrize(
    ("code", "ending"),
    [(137, "killed by SIGKILL"), (-9, "killed by SIGKILL"), (255, "exit code 255")],
)
def test_a_signal_is_named(code, ending):
    assert cause_of(["x"], code) == f"x ({ending})"


def test_the_exit_code_is_that_of_the_stage_and_not_of_dvc():
    lines = ["ERROR: failed to reproduce 'a': failed to run: b, exited with 2"]
    assert exit_code(lines, 255) == 2
    assert exit_code(["ERROR: other"], 255) == 255


def test_output_is_streamed_with_errors_in_place():
    seen: list[str] = []
    code = (
        "import sys; print('out'); print('err', file=sys.stderr); sys.stdout.buffer.write(b'\\xff')"
    )
    run_command(python(code), log=seen.append)
    assert seen == ["out", "err", "\ufffd"]


def test_a_failure_carries_cause_code_and_last_lines():
    code = "print(*range(200), sep='\\n'); raise SystemExit('error: no space')"
    with pytest.raises(CommandFailed) as failed:
        run_command(python(code), log=lambda line: None)
    assert (failed.value.cause, failed.value.code) == ("no space (exit code 1)", 1)
    assert failed.value.tail[-2:] == ["199", "error: no space"]
    assert len(failed.value.tail) == 100


def test_stages_run_with_this_python():
    done = subprocess.run(
        ["python", "-c", "import sys; print(sys.prefix)"],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == sys.prefix


DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("hanging", flush=True)
time.sleep(600)
"""
HANG = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {DEAF!r}], start_new_session=True)
time.sleep(600)
"""


def test_an_interruption_ends_the_command_and_all_below_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flows.stage.GRACE", 0.2)

    def interrupt(line: str) -> None:
        assert len(processes_in(tmp_path)) == 4  # two guards, the command, its child
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_command(python(HANG), log=interrupt)
    assert processes_in(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_flow_leaves_no_process(toy, prefect_server, signum):
    """Cancel in the UI is SIGTERM to the process of the flow, after 30 s SIGKILL."""
    (toy / "corpus.txt").write_text("hang")
    code = "import sys; from flows.pipeline import build; build(last='corpus')"
    flow = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**environment(), "PREFECT_API_URL": prefect_server},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert flow.stdout is not None
    assert any("hanging" in line for line in flow.stdout)
    started = processes_in(toy)
    assert len(started) >= 5  # the flow, the guard, dvc, the stage and its child at least
    flow.send_signal(signum)
    flow.communicate(timeout=40)
    assert psutil.wait_procs(started, timeout=20)[1] == []
    assert processes_in(toy) == []
