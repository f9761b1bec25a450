"""Rows that cannot be used: counted, kept with the reason, and too many of them stop the stage."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from diffutron.data.files import BadLine
from diffutron.errors import UserError

EXAMPLES = 5
T = TypeVar("T")


class Quarantine:
    """Counts rows, keeps what was wrong with the bad ones, and stops the stage at too many."""

    def __init__(self, section: str, *, max_bad_share: float):
        self.section, self.max_bad_share = section, max_bad_share
        self.read = 0
        self.bad: list[BadLine] = []

    def sift(self, rows: Iterable[T | BadLine]) -> Iterator[T]:
        """The usable rows.

        Raises:
            UserError: at the end, when more than `max_bad_share` of the rows were bad.
        """
        for row in rows:
            self.read += 1
            if isinstance(row, BadLine):
                self.bad.append(row)
            else:
                yield row
        self._judge()

    def _judge(self) -> None:
        if len(self.bad) > self.max_bad_share * self.read:
            examples = "; ".join(f"{b.file} line {b.line}: {b.why}" for b in self.bad[:EXAMPLES])
            raise UserError(
                f"{self.section}: {len(self.bad)} of {self.read} lines cannot be used, more than "
                f"{self.section}.max_bad_share = {self.max_bad_share} allows: {examples}; "
                "mend the files or raise the share"
            )
        if not self.read:
            raise UserError(f"{self.section}: the source holds no rows; see {self.section}.source")

    def report(self) -> dict[str, Any]:
        examples = [{"file": b.file, "line": b.line, "why": b.why} for b in self.bad[:EXAMPLES]]
        return {"read": self.read, "bad": len(self.bad), "examples": examples}
