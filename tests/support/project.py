"""The clone that the tests stand in: what is committed may be read, what a build left may not."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]
# What `diffutron build`, `diffutron up` and `dvc repro` write at the top of a clone.
BUILT = {
    *("data", "models", "metrics", "plots", "report", "leaderboard", "registry", "checkpoints"),
    "live",
    *("mlflow.db", "mlruns", "mlartifacts", ".prefect"),
    *("params.yaml", "params.yaml.orig", "dvc.lock"),
}
_EVENTS = {
    *("open", "sqlite3.connect", "os.listdir", "os.scandir", "os.chdir"),
    *("os.mkdir", "os.remove", "os.rename", "os.rmdir"),
}
_INSIDE = f"{CLONE}{os.sep}"


class BuildSeen(BaseException):
    """A test looked at what a build left in the clone. No handler of errors may swallow this."""


_refusing = False


@contextmanager
def built_files_refused() -> Iterator[None]:
    """In the block this process cannot open or list what a build left in the clone."""
    global _refusing
    sys.addaudithook(_refuse)  # for good: a hook cannot be removed
    _refusing = True
    try:
        yield
    finally:
        _refusing = False


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if not _refusing:
        return
    if event == "subprocess.Popen":
        folder = None if arguments[0] == "git" else arguments[2]  # git knows what is committed
    elif event in _EVENTS:
        folder = arguments[0]
    else:
        return
    if not isinstance(folder, str | bytes | os.PathLike):
        return
    path = os.path.abspath(os.fsdecode(folder))
    if event in ("subprocess.Popen", "os.chdir") and path == str(CLONE):
        raise BuildSeen(f"a test works in {path}; take the fixture `repo`")
    if path.startswith(_INSIDE):
        name = path[len(_INSIDE) :].split(os.sep, 1)[0]
        if name in BUILT or name.startswith("mlflow.db"):
            raise BuildSeen(f"a test opens {path}, which a build may have written")


def copy_project(folder: Path) -> Path:
    """The files that git knows as they are now, in a folder of their own; `params.yaml` as staged.

    A build writes `params.yaml` and, where somebody commits results, the other paths of BUILT.
    """
    git = ["git", "-c", f"safe.directory={CLONE}", "-C", str(CLONE)]
    listed = subprocess.run([*git, "ls-files", "-z"], capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if name.split("/", 1)[0] not in BUILT and (CLONE / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CLONE / name, folder / name)
    staged = subprocess.run([*git, "show", ":params.yaml"], capture_output=True, check=True)
    (folder / "params.yaml").write_bytes(staged.stdout)
    return folder
