"""The one reader of JSON lines, for every file of that form.

`\\n` ends a line, and nothing else does: U+2028 is text. A byte order mark is no data. Blank lines
hold nothing.
"""

import codecs
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffutron.runtime.errors import UserError


@dataclass(frozen=True)
class NotJson:
    """Why a line holds no value."""

    reason: str


def parse_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, Any | NotJson]]:
    """The number of each line that holds something, from 1, and its value or the fault."""
    number = 0
    for line in lines:  # not by enumerate, which holds on to a line
        number += 1
        line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if not line.strip():
            continue
        try:
            text, line = line.decode("utf-8"), b""
            value, text = json.loads(text), ""
            yield number, value
        except UnicodeDecodeError as error:
            yield number, NotJson(f"not UTF-8 (byte {error.start + 1} of the line)")
        except (ValueError, RecursionError) as error:
            yield number, NotJson(f"not JSON ({str(error) or 'nested too deeply'})")


def read_json_lines(path: Path, *, advice: str = "correct the line") -> Iterator[tuple[int, Any]]:
    """The number and the value of each line of a file.

    Raises:
        UserError: the file is absent, or a line is no JSON; names the line and ends with `advice`.
    """
    try:
        with Path(path).open("rb") as stream:
            for number, value in parse_lines(stream):
                if isinstance(value, NotJson):
                    raise UserError(f"{path}, line {number}: {value.reason}; {advice}")
                yield number, value
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; {advice}") from None


def is_unicode(text: str) -> bool:
    """Whether a file can hold a text; JSON may carry half of an emoji (a surrogate)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def require_unicode(texts: Iterable[str]) -> None:
    """Raises ValueError for a text that is no Unicode."""
    for number, text in enumerate(texts):
        if not is_unicode(text):
            raise ValueError(f"text number {number} is no Unicode text (half of a surrogate pair)")
