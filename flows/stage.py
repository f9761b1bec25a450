"""The one subprocess runner: a stage is a Prefect task around `dvc repro --single-item STAGE`."""

import io
import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from prefect import task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from diffutron.operations.dvc_lock import drop_dead_locks
from diffutron.operations.guard import GRACE, guarded

TAIL = 100  # lines in which the cause of a failure is looked for
SHOWN = 40  # lines shown of them
UP_TO_DATE = "UpToDate"

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_WARNING = re.compile(r"\b(Future|Deprecation|PendingDeprecation)Warning: ")
_NOISE = re.compile(
    r"Setting ds_accelerator to|Setting accelerator to CPU|deepspeed_shm_comm"
    r"|^To track the changes with git, run:|^\tgit add |^Use `dvc push` to send"
    r"|^To enable auto staging, run:|^\tdvc config core.autostage|hostname of the client socket"
)
# What names the cause, best first: our own one line, the end of a traceback, the word of DVC.
_CAUSES = (
    re.compile(r"^(?:\[rank\d+\]: ?)?error: (.+)"),
    re.compile(
        r"^(?:\[rank\d+\]: ?)?((?!.*ChildFailedError)[\w.]+(?:Error|Exception|Interrupt)\b.*)"
    ),
    re.compile(r"^ERROR: (.+)"),
    re.compile(r"^│ (\S.*?)\s+│$"),  # a command line that cannot be, in the frame around it
)
_DVC_EXIT = re.compile(r"^ERROR: .*exited with (-?\d+)$")


class CommandFailed(Exception):
    """A command that ended badly: the cause in one line, the exit code, its last lines."""

    def __init__(self, cause: str, *, code: int, tail: Iterable[str]):
        super().__init__(cause)
        self.cause, self.code, self.tail = cause, code, list(tail)


def run_command(
    command: Sequence[str], *, log: Callable[[str], None], extra: Mapping[str, str] | None = None
) -> None:
    """Run a command under a guard; hand each readable line of its output to `log`.

    extra: what its environment holds besides.

    Whatever interrupts this (cancel, Ctrl-C, a fault in `log`), and also if this process is
    killed, the command and all that it has started end before the interruption goes on.
    """
    process = subprocess.Popen(
        guarded(command, grace=GRACE),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**environment(), **(extra or {})},
    )
    assert process.stdout is not None
    tail: deque[str] = deque(maxlen=TAIL)
    try:
        # Lines end at a line feed only: a progress bar redrawn after `\r` stays one line.
        said = io.TextIOWrapper(process.stdout, encoding="utf-8", errors="replace", newline="\n")
        for line in readable(said):
            tail.append(line)
            log(line)
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait(timeout=2 * GRACE + 5)
        raise
    finally:
        process.stdout.close()
    if code:
        code = exit_code(tail, code)
        raise CommandFailed(cause_of(list(tail), code), code=code, tail=tail)


def environment() -> dict[str, str]:
    """The `python` of dvc.yaml is the one that runs this; output is not held back in buffers."""
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}


def readable(lines: Iterable[str]) -> Iterator[str]:
    """The lines worth logging: last state of a bar, no colors, none of the libraries' noise."""
    skip_source = False
    for raw in lines:
        line = _ANSI.sub("", raw.rstrip("\r\n")).rpartition("\r")[2].rstrip()
        source_of_warning = skip_source and line.startswith("  ")
        skip_source = bool(_WARNING.search(line))
        if line and not (source_of_warning or skip_source or _NOISE.search(line)):
            yield line


def cause_of(lines: Sequence[str], code: int) -> str:
    """The line that says why a command failed; the first one, since others follow from it."""
    for pattern in _CAUSES:
        for line in lines:
            if match := pattern.match(line):
                return f"{match.group(1)} ({_ending(code)})"
    return f"{lines[-1] if lines else 'no output'} ({_ending(code)})"


def exit_code(lines: Iterable[str], code: int) -> int:
    """The exit code of what DVC ran, which DVC itself turns into 255."""
    stated = [match for line in lines if (match := _DVC_EXIT.search(line))]
    return int(stated[-1].group(1)) if stated else code


def _ending(code: int) -> str:
    number = -code if code < 0 else code - 128
    if number in {*map(int, signal.Signals)}:
        return f"killed by {signal.Signals(number).name}"
    return f"exit code {code}"


@dataclass(frozen=True)
class Bar:
    """The part of a flow's progress artifact that belongs to one stage; shares of 1."""

    artifact: UUID
    start: float
    share: float

    def follow(self, stage: str) -> Callable[[str], None]:
        """Moves the artifact by the stage's own lines `stage: 120/2000 (6 %), ..., 0:00:46 left`,
        and says the same beside it."""
        line_of_bar = re.compile(
            rf"{re.escape(stage)}: \d+/\d+ \((\d+) %\)(?:.*, (\d+:\d\d:\d\d) left)?"
        )
        self.move(0, f"{stage}: begins")

        def show(line: str) -> None:
            if match := line_of_bar.match(line):
                percent, left = match.groups()
                told = f"{stage}: {percent} %"
                self.move(int(percent), f"{told}, {left} left" if left else told)

        return show

    def move(self, percent: int, told: str) -> None:
        update_progress_artifact(
            self.artifact, progress=100 * self.start + self.share * percent, description=told
        )


def run_shown(command: Sequence[str], *, name: str, line: str, unit: str) -> None:
    """Run a command in a flow of its own: its lines are the log, its bar is an artifact.

    Args:
        command: as `run_command` takes it; `CommandFailed` is what it raises.
        name: of the artifact, `NAME-progress`.
        line: how the lines of the bar begin.
        unit: what the bar counts.
    """
    log = get_run_logger()
    artifact = create_progress_artifact(0.0, key=f"{name}-progress", description=unit)
    assert isinstance(artifact, UUID)
    show = Bar(artifact, 0.0, 1.0).follow(line)

    def each(said: str) -> None:
        log.info("%s", said)
        show(said)

    run_command(command, log=each)
    update_progress_artifact(artifact, progress=100.0)


@task(name="stage", retries=0)
def run_stage(
    stage: str,
    *,
    why: str = "",
    up_to_date: bool = False,
    force: bool = False,
    bar: Bar | None = None,
    extra: Mapping[str, str] | None = None,
) -> State:
    """Bring one stage up to date; `up_to_date` marks it at once, without asking DVC again."""
    if up_to_date:
        return Completed(name=UP_TO_DATE, message="nothing it depends on has changed")
    log = get_run_logger()
    if why:
        log.info("%s", why)
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", stage]
    show = bar.follow(stage) if bar else None

    def each(line: str) -> None:
        log.info("%s", line)
        if show:
            show(line)

    drop_dead_locks()
    try:
        run_command([*command, "--force"] if force else command, log=each, extra=extra)
    except CommandFailed as failure:
        return report_failure(stage, failure)
    return Completed(message="done")


def report_failure(name: str, failure: CommandFailed) -> State:
    """A failed state that names the cause, and an artifact with the last lines."""
    last = "\n".join(failure.tail[-SHOWN:])
    create_markdown_artifact(
        key=f"{name}-failure".replace("_", "-"),
        markdown=f"**{name}: {failure.cause}**\n\nThe last lines:\n\n```text\n{last}\n```\n",
        description=f"why {name} failed",
    )
    return Failed(message=f"{name}: {failure.cause}")
