"""The one reader of the seven evaluation sets: from the hub, a local folder or the built-in sample.

Scoring, decontamination and instructions read the rows here and nowhere else. Rows keep the field
names of the hub sets (one class a set below); a row that does not fit stops the stage, as a set
with silently lost rows is another set.
"""

import hashlib
import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from diffutron.config.section import TASKS
from diffutron.data.evaluation_sets.places import HUB, LOCAL, SCHEMA, TRAINING, LocalFile
from diffutron.data.evaluation_sets.rows import Row, explain_row
from diffutron.data.sources.hub_rows import HubSplit, open_split
from diffutron.data.sources.row_readers import BadLine, RawRow
from diffutron.runtime.errors import UserError
from diffutron.runtime.json_lines import read_json_lines


@dataclass(frozen=True)
class OwnWords:
    """How somebody's own task is asked: its rows hold `context`, `choices`, `gold`, `cluster`
    and, where the task has parts, `part`.

    delimiter: between context and choice. normalization: what a value is divided by before
    values are compared. pairs: two texts are compared. clustered: rows belong together.
    published: scores that others have measured.
    """

    delimiter: str
    normalization: str
    pairs: bool
    clustered: bool
    published: dict[str, Any] | None = None


@dataclass(frozen=True)
class EvaluationSet:
    """The rows of one task. `name` is what reports print: the task, or the name of a stand-in.

    own: of somebody's own task, whose rows hold the question in words.
    """

    task: str
    name: str
    rows: list[dict[str, Any]]
    origin: str
    stand_in: str | None = None
    dropped: dict[str, int] = field(default_factory=dict)
    own: OwnWords | None = None

    @property
    def digest(self) -> str:
        text = json.dumps(self.rows, ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def clustered(self) -> bool:
        """Whether its task file says which rows belong together."""
        return self.own is not None and self.own.clustered

    def draw(self, items: int | None, *, seed: int) -> list[int] | None:
        """Indices of `items` rows drawn without replacement, in order; None for all rows.

        A prefix would not do: some sets are sorted by class.
        """
        if items is None or items >= len(self.rows):
            return None
        return sorted(random.Random(f"{seed}:{self.name}").sample(range(len(self.rows)), items))


def load_sets(
    tasks: Iterable[str],
    *,
    source: str,
    folder: Path | None = None,
    digest: str | None = None,
    unlabeled: bool = False,
) -> tuple[list[EvaluationSet], list[str]]:
    """The sets of `tasks` and, for a local folder, the names of those it does not hold.

    `digest` (hub only) is `sets_digest` of an earlier reading; other rows are a `UserError`.
    """
    sets, missing = [], []
    for task in tasks:
        if source == "local" and task in LOCAL and local_file(task, folder) is None:
            missing.append(task)
        else:
            sets.append(load_rows(task, source=source, folder=folder, unlabeled=unlabeled))
    if not sets:
        raise UserError(
            f"none of the sets {', '.join(missing)} is in {folder}; see the file names "
            "of the `local` layout in diffutron/data/evaluation_sets/evaluation_sets.py"
        )
    if source == "hub" and digest and digest != sets_digest(sets):
        raise UserError(
            f"evaluate.digest is {digest} but the hub's rows have {sets_digest(sets)}: the sets "
            "changed; look at the difference, then set the new digest"
        )
    return sets, missing


def load_rows(
    task: str, *, source: str, folder: Path | None = None, unlabeled: bool = False
) -> EvaluationSet:
    """Read, check and return the rows of one task; with `unlabeled` those of label -1 as well.

    Raises `UserError` for an unknown task or source, an absent file or a row that does not fit.
    """
    if task not in SCHEMA:
        raise UserError(f"unknown task {task!r}; allowed: {', '.join(TASKS)}")
    if source == "sample":
        from diffutron.sample import evaluation_set

        rows = enumerate(evaluation_set(task), 1)
        found = _checked(task, task, rows, SCHEMA[task], "built-in sample")
    elif source == "local":
        found = _local_set(task, folder)
    elif source == "hub":
        found = _hub_set(task)
    else:
        allowed = "sample, local, hub"
        raise UserError(f"unknown source {source!r} of evaluation sets; allowed: {allowed}")
    if unlabeled:
        return found
    # NLI rows of label -1 are those on which the annotators disagreed: no answer can be right.
    kept = [row for row in found.rows if row.get("label") != -1]
    if not kept:
        raise UserError(f"{found.origin} holds no labeled rows for {task}")
    lost = len(found.rows) - len(kept)
    return replace(found, rows=kept, dropped={"label -1": lost} if lost else {})


def training_set(task: str, *, source: str, folder: Path | None = None) -> EvaluationSet | None:
    """The training split of a task in the fields of its evaluation rows; None where there is none.

    Never scored: few-shot examples come from it, and the supervised baseline learns from it. So a
    row that does not fit is left out and counted in `dropped`.
    """
    if task not in TRAINING or source == "sample":
        return None
    if source == "hub":
        return _hub_set(task, split="train")
    path = _find_file(TRAINING[task], folder)
    if path is None:
        return None
    return _checked(task, task, read_json_lines(path), SCHEMA[task], path.name, strict=False)


def sets_digest(sets: Iterable[EvaluationSet]) -> str:
    text = "\n".join(f"{one.name} {one.digest}" for one in sorted(sets, key=lambda one: one.name))
    return hashlib.sha256(text.encode()).hexdigest()


def local_file(task: str, folder: Path | None) -> tuple[Path, LocalFile] | None:
    """The first of a task's files that `folder` (or its subfolder `cetvel`) holds."""
    for file in LOCAL[task]:
        if path := _find_file(file.name, folder):
            return path, file
    return None


def _find_file(name: str, folder: Path | None) -> Path | None:
    if folder is None or not folder.is_dir():
        where = f"folder {folder} does not exist" if folder else "no folder is given"
        raise UserError(f"evaluate.source is local but {where}: set DIFFUTRON_DATA")
    places = (parent / name for parent in (folder / "cetvel", folder))
    return next((place for place in places if place.is_file()), None)


def _local_set(task: str, folder: Path | None) -> EvaluationSet:
    found = local_file(task, folder)
    if found is None:
        names = " or ".join(file.name for file in LOCAL[task])
        raise UserError(f"{task}: {folder} holds no {names}")
    path, file = found
    name = path.stem if file.stand_in_for else task
    loaded = _checked(task, name, read_json_lines(path), file.row, path.name)
    return replace(loaded, stand_in=file.stand_in_for)


def _hub_set(task: str, *, split: str | None = None) -> EvaluationSet:
    """The evaluation split, or another one of the same revision, whose size is not checked."""
    hub = HUB[task].model_copy(update={"split": split, "rows": None} if split else {})
    found = open_split(hub, setting=f"evaluate.source: {task}", export=hub.parquet)
    rows = [*found.rows()]
    if hub.rows not in (None, len(rows)):
        raise UserError(
            f"{found.title} has {len(rows)} rows where {hub.rows} are expected: the set on the hub "
            "is another one"
        )
    return _checked(task, task, _plain_rows(found, rows), SCHEMA[task], found.title)


def _plain_rows(found: HubSplit, rows: Iterable[RawRow | BadLine]) -> Iterator[tuple[int, Any]]:
    """Rows as written in the source: news labels, which the hub stores as numbers, by name."""
    names = found.class_names("label")
    for row in rows:
        if isinstance(row, BadLine):
            raise UserError(f"{found.title}, row {row.line}: {row.why}")
        label = row.values.get("label")
        if "sport" in names and isinstance(label, int):
            row.values["label"] = names[label]
        yield row.line, row.values


def _checked(
    task: str,
    name: str,
    rows: Iterable[tuple[int, Any]],
    schema: type[Row],
    origin: str,
    *,
    strict: bool = True,
) -> EvaluationSet:
    """Rows that fit the schema, with their place in the source as `row`; one that does not is an
    error, or is counted where not `strict`."""
    kept, unfit = [], 0
    for number, row in rows:
        try:
            values = schema.model_validate(row).model_dump()
        except ValidationError as error:
            if strict:
                raise UserError(f"{origin}, row {number}: {explain_row(error, row)}") from None
            unfit += 1
            continue
        kept.append({"row": number, **values})
    if not kept:
        raise UserError(f"{origin} holds no rows for {task}")
    dropped = {"does not fit": unfit} if unfit else {}
    return EvaluationSet(task=task, name=name, rows=kept, origin=origin, dropped=dropped)
