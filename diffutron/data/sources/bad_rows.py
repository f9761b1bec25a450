"""Rows that cannot be used: counted, kept with the reason, and too many of them stop the stage."""

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from diffutron.data.sources.row_readers import BadLine
from diffutron.runtime.errors import UserError

EXAMPLES = 5
IN_MEMORY = 1 << 20  # bytes of bad lines; more of them go through a file
T = TypeVar("T")


class BadRows:
    """Counts rows, keeps what was wrong with the bad ones, and stops the stage at too many."""

    def __init__(self, section: str, *, max_bad_share: float):
        self.section, self.max_bad_share = section, max_bad_share
        self.read = 0
        self.bad = 0
        self.examples: list[dict[str, Any]] = []  # the first bad lines: file, line, why
        self._lines = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 lives as long as this

    def sift(self, rows: Iterable[T | BadLine]) -> Iterator[T]:
        """The usable rows.

        Raises:
            UserError: at the end, when more than `max_bad_share` of the rows were bad.
        """
        for row in rows:
            self.read += 1
            if not isinstance(row, BadLine):
                yield row
                continue
            self.bad += 1
            found = asdict(row)
            if len(self.examples) < EXAMPLES:
                self.examples.append(found)
            self._lines.write(json.dumps(found, ensure_ascii=False).encode() + b"\n")
        self._judge()

    def write(self, path: Path) -> None:
        """Each bad line as JSON: where it stands and what is wrong with it; no file without any."""
        if not self.bad:
            return
        self._lines.seek(0)
        with path.open("wb") as out:
            shutil.copyfileobj(self._lines, out)

    def _judge(self) -> None:
        if self.bad > self.max_bad_share * self.read:
            examples = "; ".join(
                "{file} line {line}: {why}".format_map(bad) for bad in self.examples
            )
            raise UserError(
                f"{self.section}: {self.bad} of {self.read} lines cannot be used, more than "
                f"{self.section}.max_bad_share = {self.max_bad_share} allows: {examples}; "
                "mend the files or raise the share"
            )
        if not self.read:
            raise UserError(f"{self.section}: the source holds no rows; see {self.section}.source")
