"""Servers as processes: started without privileges, waited for, and ended with all they started."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.support.http import client
from tests.support.processes import wait_for
from tests.support.project import CLONE as REPO

START_SECONDS = 180.0  # a busy machine takes a minute or two
USER = 1000  # the user of infra/Dockerfile


def as_user(user: int = USER) -> list[str]:
    """What goes before a command so that it runs as `user`; nothing where we are not root.

    Where Python or this project lie in a folder that is closed to others, such as root's home, the
    command may read everything; it never writes more than its user.
    """
    if os.getuid() != 0:
        return []
    prefix = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    needed = (REPO / "infra", Path(sys.prefix, "bin"), Path(sys.base_prefix, "lib"))
    if any(subprocess.run([*prefix, "test", "-r", str(one)]).returncode for one in needed):
        prefix += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return prefix


def give(folder: Path, user: int = USER) -> None:
    """Make a folder and what is in it the user's, where we may."""
    if os.getuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user, user, follow_symlinks=False)


@contextmanager
def scratch(name: str, user: int = USER) -> Iterator[Path]:
    """A folder of the user that it can reach: pytest's own are closed to everybody else."""
    folder = Path(tempfile.mkdtemp(prefix=f"diffutron-{name}-"))
    folder.chmod(0o755)
    give(folder, user)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def own_path() -> str:
    """PATH with the programs of this environment first, as in the image."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@dataclass
class Service:
    """A server that can be stopped and started again with the same command."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    folder: Path
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what is left after 20 s; the whole group."""
        if self.process is None:
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, sign)
                self.process.wait(timeout=20)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self.process.wait(timeout=5)

    def wait_until(self, ready: Callable[[], bool], *, seconds: float = START_SECONDS) -> None:
        def alive_and_ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"it ended ({self.process.returncode})"
            return ready()

        try:
            wait_for(alive_and_ready, seconds=seconds, what="an answer")
        except AssertionError as error:
            raise AssertionError(f"{self.name}: {error}: {self.log()}") from None

    def wait_for_answer(self, url: str) -> None:
        self.wait_until(lambda: answers(url))

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def _log(self) -> Path:
        return self.folder / f"{self.name}.log"


def answers(url: str) -> bool:
    """Whether a server says that it is well, or at least refuses politely."""
    try:
        return client().get(url, timeout=5).status_code < 500
    except httpx.TransportError:
        return False


@contextmanager
def running(*services: Service) -> Iterator[None]:
    """Start them in turn; stop them in the opposite order, whatever happens."""
    try:
        for service in services:
            service.start()
        yield
    finally:
        for service in reversed(services):
            service.stop()
