"""Every setting of `params.yaml` in words: its name, what is allowed, and what it means.

python -m diffutron.config.reference > docs/reference/params.md
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from diffutron.config.params import Params

BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most"} | {
    "exclusiveMaximum": "below"
}

FIRST_TRAINED = "backbone"  # the page explains `training` there alone


@dataclass(frozen=True)
class Setting:
    """key: dotted, without the place in a list. choices: the words that are allowed, if they are
    few. allowed: the type and its bounds."""

    key: str
    allowed: str
    choices: tuple[str, ...]
    meaning: str

    @property
    def comment(self) -> str:
        """As it stands beside the value in `params.yaml`."""
        return ": ".join(filter(None, [" | ".join(self.choices), self.meaning]))


def settings() -> Iterator[Setting]:
    """The sections and their settings, in the order of the file."""
    schema = Params.model_json_schema(by_alias=True)
    yield from _settings(schema, schema["$defs"], "")


def comments() -> dict[str, str]:
    """What stands beside the value of a key."""
    return {one.key: one.comment for one in settings()}


def _settings(schema: Any, known: Any, prefix: str) -> Iterator[Setting]:
    for name, entry in schema.get("properties", {}).items():
        key = f"{prefix}{name}"
        kinds = [_resolved(kind, known) for kind in _forms(entry)]
        sections = [kind for kind in kinds if "properties" in kind]
        items = [_resolved(kind["items"], known) for kind in kinds if "items" in kind]
        choices = [str(choice) for kind in kinds for choice in _choices(kind)]
        # The settings of a section say more than the word `mapping`.
        allowed = [_allowed(kind, known) for kind in kinds if kind not in sections]
        yield Setting(key, " or ".join(allowed), tuple(choices), entry.get("description", ""))
        for section in [*sections, *(item for item in items if "properties" in item)]:
            yield from _settings(section, known, f"{key}.")


def _forms(entry: Any) -> list[Any]:
    return entry.get("anyOf") or entry.get("oneOf") or [entry]


def _resolved(entry: Any, known: Any) -> Any:
    if "$ref" in entry:
        return known[entry["$ref"].rpartition("/")[2]]
    return entry


def _choices(kind: Any) -> list[Any]:
    return kind.get("enum", [kind["const"]] if "const" in kind else [])


def _allowed(kind: Any, known: Any) -> str:
    if words := _choices(kind):
        return ", ".join(f"`{word}`" for word in words)
    bounds = [f"{said} {kind[key]:,}" for key, said in BOUNDS.items() if key in kind]
    if "prefixItems" in kind:
        return f"list of {len(kind['prefixItems'])} numbers"
    if "items" in kind:
        return f"list of {_allowed(_resolved(kind['items'], known), known)}"
    return " ".join([str(kind.get("type", "mapping")), ", ".join(bounds)]).strip()


def page() -> str:
    """The page in Markdown, one table per section."""
    lines = [
        "# Settings",
        "",
        "The keys of `params.yaml`. A result depends on each of them. This page is made from the",
        "classes that check the file, by `python -m diffutron.config.reference`.",
    ]
    single: list[str] = []
    for one in settings():
        section, _, inner = one.key.partition(".")
        row = f"| `{inner or section}` | {one.allowed or 'section'} | {one.meaning} |"
        if inner.startswith("training.") and section != FIRST_TRAINED:
            continue
        if inner == "training" and section != FIRST_TRAINED:
            row = f"| `training` | as in `{FIRST_TRAINED}` | {one.meaning} |"
        if inner:
            lines.append(row)
        elif one.allowed:
            single.append(row)
        else:
            lines += ["", f"## {section}", "", one.meaning, "", *_HEAD]
    return "\n".join([*lines[:4], "", *_HEAD, *single, *lines[4:]]) + "\n"


_HEAD = ["| key | allowed | meaning |", "|---|---|---|"]

if __name__ == "__main__":
    print(page(), end="")
