"""Answers on disk, one line per item, so that a run that was stopped goes on where it was.

A file holds the answers of one model (by the content of its files and how it is asked) to one
task, protocol and number of examples. A line is found by the words of its question. Every rank
writes a file of its own and reads those of all.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import diffutron
from diffutron.evaluation.scorers.answer import Answer
from diffutron.runtime.files import content_digest
from diffutron.runtime.json_lines import NotJson, parse_lines

# The code that a value depends on: answers of other code are not taken for those of this one.
CODE = ("diffusion", "modeling", "evaluation/cetvel", "evaluation/scorers", "evaluation/scoring")


@lru_cache
def _code_digest() -> str:
    package = Path(diffutron.__file__).parent
    return content_digest(path for name in CODE for path in sorted((package / name).rglob("*.py")))


class AnswerCache:
    """The answers of one system to one task.

    identity: everything besides the question and the code that a value depends on.
    """

    def __init__(self, folder: Path, identity: Iterable[object], *, name: str, rank: int = 0):
        text = json.dumps([_code_digest(), *map(str, identity)])
        self.stem = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        self.folder, self.path = folder, folder / f"{self.stem}.rank{rank}.jsonl"

    def read(self) -> dict[str, Answer]:
        """All answers there are, by the key of their question.

        A line that a kill cut off counts as absent.
        """
        found: dict[str, Answer] = {}
        for path in sorted(self.folder.glob(f"{self.stem}.rank*.jsonl")):
            with path.open("rb") as stream:
                for _, values in parse_lines(stream):
                    if not isinstance(values, NotJson):
                        key = values.pop("key")
                        found[key] = Answer(**values)
        return found

    def append(self, answers: Iterable[tuple[str, Answer]]) -> None:
        """Write answers so that they survive a kill right afterwards."""
        lines = [json.dumps({"key": key, **asdict(answer)}) for key, answer in answers]
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as stream:
            # A line that a kill cut short must not swallow the first new one.
            start = b"\n" if stream.tell() else b""
            stream.write(start + "\n".join(lines).encode())
            stream.flush()
            os.fsync(stream.fileno())
