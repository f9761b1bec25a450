"""Writing and reading what a stage leaves behind: complete or absent, never half."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffutron.runtime.errors import UserError

_CAUSES = {
    errno.ENOSPC: "the disk is full: free some space and run again",
    errno.EDQUOT: "the disk quota is used up: free some space and run again",
    errno.EROFS: "the file system is read-only: choose a folder that can be written",
    errno.EACCES: "permission denied: choose a folder that can be written",
    errno.ENOTDIR: "a part of this path is a file and no folder: choose another path",
    errno.EEXIST: "a part of this path is a file and no folder: choose another path",
    errno.EISDIR: "there is a folder of this name: choose another path",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
}
_UMASK = os.umask(0)
os.umask(_UMASK)  # to ask for it is to set it


def explain_os_error(error: OSError, path: Path) -> UserError | None:
    """The user's version of an operating-system error, or None where there is none."""
    cause = _CAUSES.get(error.errno or 0)
    return UserError(f"cannot write {path}: {cause}") if cause else None


@contextmanager
def _user_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        explained = explain_os_error(error, path)
        if explained is None:
            raise
        raise explained from error


@contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `out` that takes its place when the block ends without error.

    On an error the temporary folder is removed and an earlier `out` stays as it was.
    """
    out = Path(out)
    with _user_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        with _user_errors(out):
            yield work
            _open_up(work)
            _swap(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def only_run(out: Path) -> Iterator[Path]:
    """Hold the lock of `out`, and yield a folder beside it for work that outlives a killed run.

    What killed runs left half done under temporary names is removed.

    Raises:
        UserError: another run holds the lock.
    """
    out = Path(out)
    kept = out.parent / f".{out.name}.shards"
    with _user_errors(kept):
        kept.mkdir(parents=True, exist_ok=True)
    with (kept / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another run is writing {out}; wait for its end, or choose another --out"
            ) from None
        for left in out.parent.glob(f".{out.name}.????????"):  # the names that `mkdtemp` gives
            shutil.rmtree(left, ignore_errors=True)
        yield kept


def _open_up(folder: Path) -> None:
    """Give what was written under a temporary name the modes that any other file would have."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod((0o777 if path.is_dir() else 0o666) & ~_UMASK)


def _swap(work: Path, out: Path) -> None:
    """Two renames; a kill between them leaves the earlier folder beside, under a telling name."""
    if not out.exists():
        work.rename(out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.replaced.", dir=out.parent))
    out.rename(old / out.name)
    work.rename(out)
    shutil.rmtree(old)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically (temporary file, fsync, rename)."""
    path = Path(path)
    with _user_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(name, 0o666 & ~_UMASK)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write plain JSON atomically, keys in the order given; NaN is refused, as JSON has none."""
    text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: Path, *, made_by: str | None = None) -> Any:
    """Read JSON; a missing or damaged file is a `UserError` that names it and its stage."""
    remedy = f"run `diffutron {made_by}` first" if made_by else "make it or fetch it again"
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; {remedy}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); {remedy}") from None


def require_folder(path: Path, *, made_by: str) -> Path:
    """The folder itself, or a `UserError` that names the stage which makes it."""
    if not Path(path).is_dir():
        raise UserError(f"folder {path} does not exist; run the stage `{made_by}` first")
    return Path(path)


def content_digest(paths: Iterable[Path]) -> str:
    """sha256 over the names and the bytes of files and folders; hex."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            name = file.relative_to(path.parent).as_posix()
            digest.update(f"{len(name)}:{name}:{file.stat().st_size}:".encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """sha256 over the bytes of one file; hex."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


CHECKSUMS = "checksums.json"  # {file name: sha256}, written when a model is registered


def verify_checksums(folder: Path) -> None:
    """Compare the files of a model folder with the checksums it carries, if it carries any.

    Raises:
        UserError: a file is damaged or missing, or a name leads out of the folder.
    """
    if not (folder / CHECKSUMS).is_file():
        return
    listed = read_json(folder / CHECKSUMS)
    if not isinstance(listed, dict):
        raise UserError(f"{folder / CHECKSUMS} is no list of checksums; fetch the model again")
    for name, wanted in listed.items():
        if Path(name).name != name:
            raise UserError(f"{folder / CHECKSUMS} names {name!r}, which is outside the folder")
        try:
            found = file_digest(folder / name)
        except FileNotFoundError:
            raise UserError(f"{folder / name} is missing; fetch the model again") from None
        if found != wanted:
            raise UserError(
                f"{folder / name} is damaged: its sha256 is {found}, at registration it was "
                f"{wanted}; fetch the model again"
            )
