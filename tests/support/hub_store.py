"""The repositories that the hub of the tests serves: files, commits and refs of a folder."""

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

LARGE = 1 << 20  # from this size on, and with these endings, a file lies in the storage host
STORED = (".parquet", ".safetensors", ".bin", ".arrow", ".gz", ".zst", ".model")
SHA = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class File:
    """One file of a commit: where it lies, its size, its names in git and in the storage."""

    path: Path
    size: int
    blob: str
    sha256: str

    @property
    def stored(self) -> bool:
        return self.size >= LARGE or self.path.name.endswith(STORED)

    @property
    def etag(self) -> str:
        return self.sha256 if self.stored else self.blob

    def entry(self, name: str) -> dict[str, Any]:
        """As `tree` and `paths-info` list it."""
        found: dict[str, Any] = {"type": "file", "oid": self.blob, "size": self.size, "path": name}
        if self.stored:
            found["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": 134}
        return found


@dataclass
class Commit:
    sha: str
    files: dict[str, File]


@dataclass
class Store:
    """The repositories of a folder. Files are read anew when their size or time changes."""

    folder: Path
    digests: dict[tuple[Path, int, int], tuple[str, str]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def about(self, kind: str, name: str) -> dict[str, Any] | None:
        """What `NAME.json` says, {} without one; None where there is no such repository."""
        place = self.folder / kind / name
        described = place.with_name(place.name + ".json")
        if described.is_file():
            return json.loads(described.read_text(encoding="utf-8"))
        return {} if place.is_dir() else None

    def commit(self, kind: str, name: str, revision: str) -> Commit | None:
        """The files at a branch or a sha; None where there is no such revision."""
        about = self.about(kind, name) or {}
        given = {"main": about.get("commit")} | about.get("commits", {})
        with self.lock:
            for ref, place in self._refs(kind, name):
                files = {
                    path.relative_to(place).as_posix(): self._file(path)
                    for path in sorted(place.rglob("*"))
                    if path.is_file()
                }
                listing = json.dumps({path: one.blob for path, one in files.items()})
                drawn = hashlib.sha1(f"{name} {ref} {listing}".encode()).hexdigest()
                sha = ref if SHA.fullmatch(ref) else given.get(ref) or drawn
                if revision in (ref, sha):
                    return Commit(sha, files)
        return None

    def refs(self, kind: str, name: str) -> list[str]:
        return [ref for ref, _ in self._refs(kind, name)]

    def by_sha256(self, sha256: str) -> File | None:
        """A file of that content which was listed before and has not changed since."""
        with self.lock:
            named = [path for (path, _, _), digest in self.digests.items() if digest[1] == sha256]
            files = [self._file(path) for path in named if path.is_file()]
        return next((file for file in files if file.sha256 == sha256), None)

    def _refs(self, kind: str, name: str) -> list[tuple[str, Path]]:
        place = self.folder / kind / name
        others = sorted(place.parent.glob(f"{place.name}@*")) if place.parent.is_dir() else []
        named = [(unquote(other.name.split("@", 1)[1]), other) for other in others]
        return ([("main", place)] if place.is_dir() else []) + named

    def _file(self, path: Path) -> File:
        stat = path.stat()
        key = (path, stat.st_size, stat.st_mtime_ns)
        if key not in self.digests:
            content = path.read_bytes()
            blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
            self.digests[key] = blob, hashlib.sha256(content).hexdigest()
        return File(path, stat.st_size, *self.digests[key])


def listing(commit: Commit, inside: str, *, recursive: bool) -> list[dict[str, Any]]:
    """The entries below a folder of a commit: files and folders, as `tree` gives them."""
    prefix = f"{inside}/" if inside else ""
    found: dict[str, dict[str, Any]] = {}
    for path, file in commit.files.items():
        if not path.startswith(prefix):
            continue
        parts = path.removeprefix(prefix).split("/")
        for depth in range(1, len(parts)):
            folder = prefix + "/".join(parts[:depth])
            if recursive or depth == 1:
                oid = hashlib.sha1(f"{commit.sha}{folder}".encode()).hexdigest()
                found[folder] = {"type": "directory", "oid": oid, "size": 0, "path": folder}
        if recursive or len(parts) == 1:
            found[path] = file.entry(path)
    return list(found.values())


def entries_of(commit: Commit, path: str) -> list[dict[str, Any]]:
    """The entry of one path, file or folder; none where there is no such path."""
    if path in commit.files:
        return [commit.files[path].entry(path)]
    if any(one.startswith(f"{path}/") for one in commit.files):
        oid = hashlib.sha1(f"{commit.sha}{path}".encode()).hexdigest()
        return [{"type": "directory", "oid": oid, "size": 0, "path": path}]
    return []
