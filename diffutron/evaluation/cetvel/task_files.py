"""The task files of this folder, read without lm-eval: words of a question, nothing else.

lm-eval takes seconds to import. A test holds its own view of the same files to the same requests.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from diffutron.data.evaluation_sets.evaluation_sets import OwnWords
from diffutron.evaluation.cetvel import prompts

FOLDER = Path(__file__).parent
FEWSHOT_DELIMITER = "\n\n"  # lm-eval's default
TWO_WAY_CHOICES = ["TUTARLI", "ALAKASIZ"]  # a stand-in without contradictions has two answers


@dataclass(frozen=True)
class TaskFile:
    """text, choices and target are a function of the row, a fixed value, or a field's name."""

    name: str
    text: Any
    choices: Any
    target: Any
    delimiter: str

    def context(self, doc: dict[str, Any]) -> str:
        return _value(self.text, doc)

    def options(self, doc: dict[str, Any]) -> list[str]:
        return list(_value(self.choices, doc))

    def gold(self, doc: dict[str, Any]) -> int:
        """The index of the right choice; below 0 where there is none."""
        return int(_value(self.target, doc))


def _value(field: Any, doc: dict[str, Any]) -> Any:
    if callable(field):
        return field(doc)
    return doc[field] if isinstance(field, str) else field


def own_task_file(name: str, own: OwnWords) -> TaskFile:
    """The words of somebody's own task, which its rows hold."""
    return TaskFile(name, "context", "choices", "gold", own.delimiter)


def task_file(
    name: str, *, casing: Literal["turkish", "cetvel"] = "turkish", two_way: bool = False
) -> TaskFile:
    """The file `NAME.yaml`, with the casing of XCOPA choices and the choices of a two-way set."""
    values = _read(FOLDER / f"{name}.yaml")
    choices = values["doc_to_choice"]
    if name == "xcopa_tr" and casing == "cetvel":
        choices = prompts.xcopa_choices_cetvel
    if two_way:
        choices = TWO_WAY_CHOICES
    return TaskFile(
        values["task"],
        values["doc_to_text"],
        choices,
        values["doc_to_target"],
        values["target_delimiter"],
    )


@lru_cache
def _read(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    # `!function prompts.NAME`, the one module that the files name.
    yaml.constructor.add_constructor(
        "!function", lambda _, node: getattr(prompts, node.value.removeprefix("prompts."))
    )
    values = yaml.load(path.read_text(encoding="utf-8"))
    if "include" in values:
        values = _read(path.parent / values["include"]) | values
    return values
