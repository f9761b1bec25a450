"""Is a model card complete, and does every number in it come from a file that git tracks?"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

PARTS = ("Use", "Data", "Recipe", "Results", "Limits", "Cost", "Made with")
FRONT_MATTER = ("language", "license", "library_name", "tags", "model-index")
WORDING = {
    "95",
    "0.001",
}  # the level of the intervals, and the bound below which p is not spelt out
_QUOTED = re.compile(r"```.*?```|`[^`]*`|\bhttps?://\S+", re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.-])\d+(?:[ ]\d{3})*(?:\.\d+)?(?:e-?\d+)?(?![\w])")


def missing_parts(card: str) -> list[str]:
    """What a card lacks: keys of the front matter, headings, or something to read below them."""
    _, head, body = card.split("---\n", 2) if card.startswith("---\n") else ("", "", card)
    values = yaml.safe_load(head) or {}
    lacking = [f"front matter: {key}" for key in FRONT_MATTER if not values.get(key)]
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", body, re.DOTALL | re.MULTILINE))
    return lacking + [part for part in PARTS if not sections.get(part, "").strip()]


def untraced_numbers(card: str, tracked: Any) -> list[str]:
    """The numbers of a card that no value of `tracked` (nested, plain) is written as.

    Code, addresses and fingerprints are quoted in the card and do not count.
    """
    written = {text for value in _numbers(tracked) for text in _renderings(value)} | WORDING
    found = _NUMBER.findall(_QUOTED.sub(" ", card))
    return [number for number in dict.fromkeys(found) if number not in written]


def _numbers(values: Any) -> Iterator[int | float]:
    if isinstance(values, dict):
        for value in values.values():
            yield from _numbers(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _numbers(value)
    elif isinstance(values, int | float) and not isinstance(values, bool):
        yield values


def _renderings(value: int | float) -> set[str]:
    """Every form in which the card may write a number."""
    forms = {str(value), f"{value:.3f}", f"{value:.1f}", f"{100 * value:.1f}"}
    return forms | ({f"{value:,}".replace(",", " ")} if isinstance(value, int) else set())
