"""Tasks that people bring: a YAML file with lm-eval's keys becomes an evaluation set.

The words of a task are Jinja templates over the fields of a row, as lm-eval has them. They are
filled in here, so that a row holds what is asked, the choices and the place of the right one.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from diffutron.config.section import TASKS, HubRows
from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet, OwnWords
from diffutron.data.evaluation_sets.places import LOCAL
from diffutron.data.sources.hub_rows import open_split
from diffutron.data.sources.row_readers import BadLine, RawRow, read_file
from diffutron.runtime.errors import UserError
from diffutron.runtime.json_lines import require_unicode
from diffutron.runtime.yaml_files import checked, read_yaml

FILES = ("csv", "json", "parquet")  # of `dataset_path`; any other name is one of the hub
ID = "id"  # a field that no two rows may share
BUILT_IN = {*TASKS, *(Path(one.name).stem for files in LOCAL.values() for one in files)}
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=80)]
Words = Annotated[str, Field(min_length=1)]


class Metadata(BaseModel):
    """What lm-eval does not know of a task."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["multiple_choice", "minimal_pairs"] = "multiple_choice"
    normalization: Literal["none", "characters", "bytes"] = "none"
    cluster: str | None = None
    license: str | None = None
    citation: str | None = None
    rows: Annotated[int, Field(gt=0)] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    version: float | str | None = None


class TaskSpec(BaseModel):
    """The keys of a task file. Those of lm-eval that change no question are read over."""

    model_config = ConfigDict(extra="forbid")

    task: Name
    dataset_path: Words
    dataset_name: str | None = None
    dataset_kwargs: dict[str, Any] = Field(default_factory=dict)
    test_split: Words = "test"
    training_split: Words | None = None
    output_type: Literal["multiple_choice"] = "multiple_choice"
    doc_to_text: str = ""
    doc_to_choice: list[str] | Words
    doc_to_target: int | str = 0
    target_delimiter: str = " "
    metadata: Metadata = Metadata()
    # Read over:
    task_alias: Any = None
    tag: Any = None
    group: Any = None
    num_fewshot: Any = None
    fewshot_split: Any = None
    validation_split: Any = None
    metric_list: Any = None
    should_decontaminate: Any = None
    doc_to_decontamination_query: Any = None

    @model_validator(mode="after")
    def kind_fits(self) -> "TaskSpec":
        if self.metadata.kind == "minimal_pairs":
            if self.doc_to_text:
                raise ValueError("minimal_pairs compares two texts: leave `doc_to_text` out")
            if self.doc_to_target != 0:
                raise ValueError("minimal_pairs: `doc_to_target` is 0, the good text comes first")
        elif not self.doc_to_text:
            raise ValueError("`doc_to_text` is missing; a multiple-choice task asks something")
        return self


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

    def rows(self) -> EvaluationSet:
        """The set that is scored.

        Raises:
            UserError: a file is missing, a row does not fit, or the rows are not those expected.
        """
        meta = self.spec.metadata
        found = self._filled(self.spec.test_split)
        if meta.rows is not None and len(found.rows) != meta.rows:
            raise UserError(
                f"{self.path}: `metadata.rows` = {meta.rows}, but {found.origin} has "
                f"{len(found.rows)} rows"
            )
        if meta.sha256 not in (None, found.digest):
            raise UserError(
                f"{self.path}: `metadata.sha256` is {meta.sha256}, but the rows of {found.origin} "
                f"have {found.digest}"
            )
        return found

    def training(self) -> EvaluationSet | None:
        """The training split, for solved examples and baselines."""
        split = self.spec.training_split
        return self._filled(split) if split else None

    def files(self) -> list[Path]:
        """The data files of its splits; none for a data set of the hub.

        Raises:
            UserError: one of them is missing.
        """
        if self.spec.dataset_path not in FILES:
            return []
        splits = filter(None, (self.spec.test_split, self.spec.training_split))
        return [file for split in splits for file in self._files(split)]

    def _filled(self, split: str) -> EvaluationSet:
        origin, raw = self._read(split)
        rows, ids = [], set()
        for one in raw:
            rows.append(self._row(one, origin))
            known = one.values.get(ID) if isinstance(one, RawRow) else None
            if known is not None and known in ids:
                raise UserError(f"{self.path}: {origin}, row {one.line}: the {ID} {known!r} stands "
                                "there before; each row needs its own")  # fmt: skip
            ids.add(known)
        if not rows:
            raise UserError(f"{self.path}: {origin} holds no rows")
        meta = self.spec.metadata
        own = OwnWords(
            "" if self.is_pairs else self.spec.target_delimiter,
            meta.normalization,
            pairs=self.is_pairs,
            clustered=meta.cluster is not None,
        )
        return EvaluationSet(task=self.name, name=self.name, rows=rows, origin=origin, own=own)

    def _read(self, split: str) -> tuple[str, Iterator[RawRow | BadLine]]:
        spec = self.spec
        if spec.dataset_path in FILES:
            files = self._files(split)
            origin = ", ".join(file.name for file in files)
            return origin, (
                row for file in files for row in read_file(file, texts=self.words.fields)
            )
        hub = HubRows(
            name=spec.dataset_path,
            revision=str(spec.dataset_kwargs.get("revision", "main")),
            config=spec.dataset_name,
            split=split,
        )
        found = open_split(hub, setting=f"{self.path}: dataset_path")
        return found.title, found.rows()

    def _files(self, split: str) -> list[Path]:
        named = self.spec.dataset_kwargs.get("data_files")
        if isinstance(named, str | list):
            named = {self.spec.test_split: named}
        if not isinstance(named, dict) or split not in named:
            raise UserError(
                f"{self.path}: `dataset_kwargs.data_files` names no file of the split {split!r}; "
                f"write data_files: {{{split}: FILE}}"
            )
        names = [named[split]] if isinstance(named[split], str) else named[split]
        files = [self.path.parent / str(name) for name in names]
        for file in files:
            if not file.is_file():
                raise UserError(
                    f"{self.path}: `dataset_kwargs.data_files.{split}`: {file} does not exist"
                )
        return files

    def _row(self, raw: RawRow | BadLine, origin: str) -> dict[str, Any]:
        where = f"{self.path}: {origin}, row {raw.line}"
        if isinstance(raw, BadLine):
            raise UserError(f"{where}: {raw.why}")
        try:
            context, choices = self.words.context(raw.values), self.words.choices(raw.values)
            gold = 0 if self.is_pairs else self.words.gold(raw.values, choices)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
        cluster = self.spec.metadata.cluster
        if cluster is not None and cluster not in raw.values:
            raise UserError(f"{where}: `metadata.cluster`: {_no_field(cluster, raw.values)}")
        if self.is_pairs and _turned(choices):  # or the first text would always be the good one
            choices, gold = choices[::-1], 1
        row = {
            "row": raw.line,
            "context": context,
            "choices": choices,
            "gold": gold,
            "cluster": None if cluster is None else str(raw.values[cluster]),
        }
        try:
            require_unicode([context, *choices])
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
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


def _no_field(name: str, values: dict[str, Any]) -> str:
    return f"there is no field `{name}`; the row has {', '.join(map(str, values))}"


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
        self.spec = spec

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
        if len(set(found)) < len(found):
            raise ValueError("`doc_to_choice`: two choices are the same")
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


def chance(rows: Iterable[dict[str, Any]]) -> float:
    """The share that guessing gets right: the mean of 1 / number of choices."""
    shares = [1 / len(row["choices"]) for row in rows]
    return sum(shares) / len(shares)
