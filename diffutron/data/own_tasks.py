"""Tasks that people bring: a YAML file with lm-eval's keys becomes an evaluation set.

The words of a task are Jinja templates over the fields of a row, as lm-eval has them. They are
filled in here, so that a row holds what is asked, the choices and the place of the right one.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from diffutron.config.section import TASKS
from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet, OwnWords
from diffutron.data.evaluation_sets.places import LOCAL
from diffutron.data.sources.row_readers import BadLine
from diffutron.data.task_rows import TaskRow, files_of, find_rows
from diffutron.data.task_spec import TaskSpec
from diffutron.runtime.errors import UserError
from diffutron.runtime.json_lines import require_unicode
from diffutron.runtime.yaml_files import checked, read_yaml

ID = "id"  # a field that no two rows may share
SOURCE = "source"  # what `cluster` and `parts` may name besides the fields of a row
SHIPPED = Path(__file__).with_name("tasks")  # task files that come with the package
BUILT_IN = {*TASKS, *(Path(one.name).stem for files in LOCAL.values() for one in files)}


class OwnTask:
    """A task file that has been read.

    Args:
        path: The file; its data files lie relative to it.

    Raises:
        UserError: the file is no such task; the message names the file and the key.
    """

    def __init__(self, path: Path) -> None:
        values = _with_included(path)
        if isinstance(values, dict) and values.get("output_type") == "generate_until":
            raise UserError(f"{path}: `output_type` = 'generate_until': only multiple_choice is "
                            "scored so far")  # fmt: skip
        self.path, self.spec = path, checked(values, TaskSpec, origin=str(path))
        if self.spec.task in BUILT_IN:
            raise UserError(f"{path}: `task` = {self.spec.task!r} is a set of this project; "
                            "rename it")  # fmt: skip
        self.words = _Words(self)

    @property
    def name(self) -> str:
        return self.spec.task

    @property
    def is_pairs(self) -> bool:
        return self.spec.metadata.kind == "minimal_pairs"

    def rows(self, folder: Path | None = None) -> EvaluationSet:
        """The set that is scored. folder: that of `--data`, for a task whose files may lie there.

        Raises:
            UserError: a file is missing, a row does not fit, or the rows are not those expected.
        """
        meta = self.spec.metadata
        found = self._filled(self.spec.test_split, folder)
        read = len(found.rows) + sum(found.dropped.values())
        if meta.rows is not None and read != meta.rows:
            raise UserError(
                f"{self.path}: `metadata.rows` = {meta.rows}, but {found.origin} has {read} rows"
            )
        if meta.sha256 not in (None, found.digest):
            raise UserError(
                f"{self.path}: `metadata.sha256` is {meta.sha256}, but the rows of {found.origin} "
                f"have {found.digest}"
            )
        return found

    def training(self, folder: Path | None = None) -> EvaluationSet | None:
        """The training split, for solved examples and baselines."""
        split = self.spec.training_split
        return self._filled(split, folder) if split else None

    def files(self) -> list[Path]:
        """The data files of its splits; none for a data set of the hub.

        Raises:
            UserError: one of them is missing.
        """
        splits = filter(None, (self.spec.test_split, self.spec.training_split))
        return [file for split in splits for file in files_of(self.spec, split, self.path)]

    def _filled(self, split: str, folder: Path | None) -> EvaluationSet:
        found = find_rows(self.spec, split, path=self.path, texts=self.words.fields, folder=folder)
        rows, ids, equal = list[dict[str, Any]](), set(), 0
        for one in found.rows:
            where = f"{self.path}: {one.raw.file}, row {one.raw.line}"
            if isinstance(one.raw, BadLine):
                raise UserError(f"{where}: {one.raw.why}")
            try:
                row = self._row(one, one.raw.values)
            except ValueError as error:
                raise UserError(f"{where}: {error}") from None
            known = one.raw.values.get(ID)
            if known is not None and known in ids:
                raise UserError(f"{where}: the {ID} {known!r} stands there before; each row needs "
                                "its own")  # fmt: skip
            ids.add(known)
            equal += row is None
            rows += [row] if row else []
        if not rows:
            raise UserError(f"{self.path}: {found.origin} holds no rows")
        return EvaluationSet(
            task=self.name,
            name=self.name,
            rows=rows,
            origin=found.origin,
            dropped={"two equal texts": equal} if equal else {},
            own=self._own_words(),
        )

    def _own_words(self) -> OwnWords:
        meta = self.spec.metadata
        return OwnWords(
            "" if self.is_pairs else self.spec.target_delimiter,
            meta.normalization,
            pairs=self.is_pairs,
            clustered=meta.cluster is not None,
            published=meta.published.model_dump() if meta.published else None,
        )

    def _row(self, one: TaskRow, values: dict[str, Any]) -> dict[str, Any] | None:
        """What is asked; None for a pair of equal texts that is to be dropped.

        Raises:
            ValueError: the row does not fit.
        """
        meta = self.spec.metadata
        context, choices = self.words.context(values), self.words.choices(values)
        if len(set(choices)) < len(choices):
            if self.is_pairs and meta.drop_equal:
                return None
            raise ValueError("`doc_to_choice`: two choices are the same")
        gold = 0 if self.is_pairs else self.words.gold(values, choices)
        if self.is_pairs and _turned(choices):  # or the first text would always be the good one
            choices, gold = choices[::-1], 1
        row = {
            "row": one.number,
            "context": context,
            "choices": choices,
            "gold": gold,
            "cluster": self.words.label("cluster", values, one.source),
        }
        if meta.parts is not None:
            row["part"] = self.words.label("parts", values, one.source)
        require_unicode([context, *choices])
        return row


def _with_included(path: Path) -> Any:
    """The keys of a file, and of the one that it includes."""
    values = read_yaml(path, absent="does not exist; give a task file")
    if isinstance(values, dict) and "include" in values:
        base = _with_included(path.parent / str(values.pop("include")))
        return {**base, **values} if isinstance(base, dict) else base
    return values


def _turned(choices: Sequence[str]) -> bool:
    """A coin by the words alone."""
    return bool(hashlib.sha256("\n".join(choices).encode(errors="replace")).digest()[0] & 1)


class _Words:
    """The templates of a task. Its methods raise ValueError where a row does not fill one."""

    def __init__(self, task: OwnTask) -> None:
        from jinja2 import StrictUndefined, TemplateSyntaxError, meta
        from jinja2.sandbox import SandboxedEnvironment

        spec = task.spec
        environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
        self.fields: set[str] = set()

        def template(key: str, text: str) -> Callable[[dict[str, Any]], str]:
            try:
                used = meta.find_undeclared_variables(environment.parse(text))
                compiled = environment.from_string(text)
            except TemplateSyntaxError as error:
                raise UserError(f"{task.path}: `{key}`: {error.message}") from None
            self.fields |= used or {text}  # a bare name is one of a field

            def fill(values: dict[str, Any]) -> str:
                return _rendered(key, compiled, values)

            return fill

        self._text = template("doc_to_text", spec.doc_to_text)
        self._target = spec.doc_to_target
        if isinstance(self._target, str):
            self._fill_target = template("doc_to_target", self._target)
        chosen = spec.doc_to_choice
        many = chosen if isinstance(chosen, list) else [chosen]
        self._choices = [
            template(f"doc_to_choice.{n}" if isinstance(chosen, list) else "doc_to_choice", one)
            for n, one in enumerate(many)
        ]
        self._labels = {
            key: template(f"metadata.{key}", text)
            for key, text in (("cluster", spec.metadata.cluster), ("parts", spec.metadata.parts))
            if text is not None
        }
        self.fields -= {SOURCE}
        self.spec = spec

    def label(self, key: str, values: dict[str, Any], source: str) -> str | None:
        """The cluster or the part of a row; None where the task names none."""
        wanted = getattr(self.spec.metadata, key)
        values = {SOURCE: source, **values}
        if wanted is None:
            return None
        if wanted in values:
            return str(values[wanted])
        if "{" not in wanted:
            raise ValueError(
                f"`metadata.{key}`: there is no field `{wanted}`; the row has {', '.join(values)}"
            )
        return self._labels[key](values)

    def context(self, values: dict[str, Any]) -> str:
        text = self.spec.doc_to_text
        return str(values[text]) if text in values else self._text(values)

    def choices(self, values: dict[str, Any]) -> list[str]:
        wanted = self.spec.doc_to_choice
        if isinstance(wanted, list):
            found = [fill(values) for fill in self._choices]
        else:
            value = values[wanted] if wanted in values else self._choices[0](values)
            found = [str(one) for one in _listed(value)]
        need = 2 if self.spec.metadata.kind == "minimal_pairs" else None
        if len(found) < 2 or (need and len(found) != need):
            raise ValueError(
                f"`doc_to_choice` gives {len(found)} choices; need {need or '2 or more'}"
            )
        if empty := [n for n, text in enumerate(found) if not text.strip()]:
            raise ValueError(f"`doc_to_choice`: choice {empty[0]} is empty")
        return found

    def gold(self, values: dict[str, Any], choices: Sequence[str]) -> int:
        """An index, or the text of a choice; digits are an index, as lm-eval reads them."""
        target: Any = self._target
        if isinstance(target, str):
            target = values[target] if target in values else self._fill_target(values)
        text = str(target).strip()
        if isinstance(target, bool) or not text.lstrip("-").isdigit():
            if text not in choices:
                raise ValueError(f"`doc_to_target` gives {text!r}, which is no choice of the row")
            return list(choices).index(text)
        if not 0 <= int(text) < len(choices):
            raise ValueError(
                f"`doc_to_target` gives {text}; the choices are 0 to {len(choices) - 1}"
            )
        return int(text)


def _rendered(key: str, compiled: Any, values: dict[str, Any]) -> str:
    from jinja2 import TemplateError, UndefinedError

    try:
        return compiled.render(**values)
    except UndefinedError as error:
        raise ValueError(f"`{key}`: {error.message}; the row has {', '.join(values)}") from None
    except (TemplateError, TypeError, ArithmeticError) as error:
        raise ValueError(f"`{key}`: {error}") from None


def _listed(value: Any) -> list[Any]:
    """A list, or a text that spells one."""
    import ast

    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            raise ValueError("`doc_to_choice` gives a text where a list is wanted") from None
    if not isinstance(value, list | tuple):
        raise ValueError("`doc_to_choice` gives no list")
    return list(value)


def shipped_names() -> list[str]:
    """The names of the tasks that come with the package: those of their files."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def chance(rows: Iterable[dict[str, Any]]) -> float:
    """The share that guessing gets right: the mean of 1 / number of choices."""
    shares = [1 / len(row["choices"]) for row in rows]
    return sum(shares) / len(shares)
