"""Answers on disk, one line an item, so that a run that was stopped goes on where it was.

A file holds the answers of one model (by the content of its files and how it is asked) to one
task, protocol and number of examples; a line is found by the words of its question. Every rank
writes a file of its own and reads those of all.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from diffutron.evaluation.scorers.answer import Answer

VERSION = 1  # of what the values mean: raise it when an adapter computes another one


class ItemCache:
    """The answers of one system to one task.

    identity: everything besides the question that a value depends on.
    """

    def __init__(self, folder: Path, identity: Iterable[object], *, name: str, rank: int = 0):
        text = json.dumps([VERSION, *map(str, identity)])
        self.stem = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        self.folder, self.path = folder, folder / f"{self.stem}.rank{rank}.jsonl"

    def read(self) -> dict[str, Answer]:
        """All answers there are, by the key of their question; a line cut off in the middle of
        writing counts as absent."""
        found: dict[str, Answer] = {}
        for path in sorted(self.folder.glob(f"{self.stem}.rank*.jsonl")):
            for line in path.read_bytes().splitlines():
                try:
                    values = json.loads(line)
                except ValueError:
                    continue
                key = values.pop("key")
                found[key] = Answer.read(values)
        return found

    def append(self, answers: Iterable[tuple[str, Answer]]) -> None:
        """Write answers so that they survive a kill right afterwards."""
        lines = [json.dumps({"key": key, **answer.plain()}) for key, answer in answers]
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as stream:
            # A line that a kill cut short must not swallow the first new one.
            start = b"\n" if stream.tell() else b""
            stream.write(start + "\n".join(lines).encode())
            stream.flush()
            os.fsync(stream.fileno())
