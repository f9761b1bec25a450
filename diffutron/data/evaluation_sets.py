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

from diffutron.data.evaluation_rows import (
    BelebeleRow,
    ExamsRow,
    IronyRow,
    NewsRow,
    NliRow,
    Row,
    StsRow,
    TwoWayNliRow,
    XcopaRow,
    explain_row,
)
from diffutron.errors import UserError
from diffutron.params import TASKS


@dataclass(frozen=True)
class HubSet:
    """Where the hub keeps a set. `parquet` reads the hub's own parquet export of a script set.

    The export cannot be pinned by commit, so the number of rows and, once
    `evaluation.digest` is set, the digest of the rows stand guard.
    """

    name: str
    config: str | None
    split: str
    revision: str
    rows: int
    parquet: bool = False


HUB = {
    "belebele_tr": HubSet(
        "facebook/belebele", "tur_Latn", "test", "7899cdfa4e1e0d733fd77c848e2c273cb1d32be2", 900
    ),
    "exams_tr": HubSet(
        "mhardalov/exams", "crosslingual_tr", "validation", "refs/convert/parquet", 393, True
    ),
    "ironytr": HubSet(
        "mcemilg/IronyTR", None, "validation", "659d7da0591e373110b19bca538d02a52c20edd2", 600
    ),
    "news_cat": HubSet(
        "mcemilg/news-cat", None, "test", "394d21ad7df8d1303288a82817b91960ea4f5081", 250
    ),
    "mnli_tr": HubSet(
        "boun-tabi/nli_tr",
        "multinli_tr",
        "validation_matched",
        "refs/convert/parquet",
        10_000,
        True,
    ),
    "sts_tr": HubSet(
        "emrecan/stsb-mt-turkish", None, "test", "27084881aeef3ce11e905bbc486b2823fd728fa5", 1379
    ),
    "xcopa_tr": HubSet("cambridgeltl/xcopa", "tr", "test", "refs/convert/parquet", 500, True),
}


@dataclass(frozen=True)
class LocalFile:
    """A file of the local layout; `stand_in_for` names the set that it only stands for."""

    name: str
    row: type[Row]
    stand_in_for: str | None = None


LOCAL = {
    "belebele_tr": (
        LocalFile("belebele_tr_test.jsonl", BelebeleRow),
        LocalFile("standin_mrc4_from_xquad_tr.jsonl", BelebeleRow, "belebele_tr"),
    ),
    "exams_tr": (LocalFile("exams_tr_validation.jsonl", ExamsRow),),
    "ironytr": (LocalFile("ironytr.jsonl", IronyRow),),
    "news_cat": (LocalFile("news_cat_test.jsonl", NewsRow),),
    "mnli_tr": (
        LocalFile("mnli_tr_validation_matched.jsonl", NliRow),
        LocalFile("standin_nli_2way_from_sts_tr.jsonl", TwoWayNliRow, "mnli_tr"),
    ),
    "sts_tr": (LocalFile("sts_tr_test.jsonl", StsRow),),
    "xcopa_tr": (LocalFile("xcopa_tr_test.jsonl", XcopaRow),),
}
SCHEMA = {task: files[0].row for task, files in LOCAL.items()}


@dataclass(frozen=True)
class EvaluationSet:
    """The rows of one task. `name` is what reports print: the task, or the name of a stand-in."""

    task: str
    name: str
    rows: list[dict[str, Any]]
    origin: str
    stand_in: str | None = None
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        text = json.dumps(self.rows, ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def draw(self, items: int | None, *, seed: int) -> list[int] | None:
        """Indices of `items` rows drawn without replacement, in order; None for all rows.

        A prefix would not do: some sets are sorted by class.
        """
        if items is None or items >= len(self.rows):
            return None
        return sorted(random.Random(f"{seed}:{self.name}").sample(range(len(self.rows)), items))


def load_sets(
    tasks: Iterable[str], *, source: str, folder: Path | None = None, digest: str | None = None
) -> tuple[list[EvaluationSet], list[str]]:
    """The sets of `tasks` and, for a local folder, the names of those it does not hold.

    `digest` (hub only) is `sets_digest` of an earlier reading; other rows are a `UserError`.
    """
    sets, missing = [], []
    for task in tasks:
        if source == "local" and task in LOCAL and local_file(task, folder) is None:
            missing.append(task)
        else:
            sets.append(load_rows(task, source=source, folder=folder))
    if not sets:
        raise UserError(
            f"none of the sets {', '.join(missing)} is in {folder}; see the file names "
            "of the `local` layout in diffutron/data/evaluation_sets.py"
        )
    if source == "hub" and digest and digest != sets_digest(sets):
        raise UserError(
            f"evaluation.digest is {digest} but the hub's rows have {sets_digest(sets)}: the sets "
            "changed; look at the difference, then set the new digest"
        )
    return sets, missing


def load_rows(task: str, *, source: str, folder: Path | None = None) -> EvaluationSet:
    """Read, check and return the rows of one task.

    Raises `UserError` for an unknown task or source, an absent file or a row that does not fit.
    """
    if task not in SCHEMA:
        raise UserError(f"unknown task {task!r}; allowed: {', '.join(TASKS)}")
    if source == "sample":
        return _sample_set(task)
    if source == "local":
        return _local_set(task, folder)
    if source == "hub":
        return _hub_set(task)
    raise UserError(f"unknown source {source!r} of evaluation sets; allowed: sample, local, hub")


def sets_digest(sets: Iterable[EvaluationSet]) -> str:
    text = "\n".join(f"{one.name} {one.digest}" for one in sorted(sets, key=lambda one: one.name))
    return hashlib.sha256(text.encode()).hexdigest()


def _sample_set(task: str) -> EvaluationSet:
    from diffutron.data.sample import evaluation_set

    origin = "built-in sample"
    return _checked(task, task, enumerate(evaluation_set(task), 1), SCHEMA[task], origin)


def local_file(task: str, folder: Path | None) -> tuple[Path, LocalFile] | None:
    """The first of a task's files that `folder` (or its subfolder `cetvel`) holds."""
    if folder is None or not folder.is_dir():
        where = f"folder {folder} does not exist" if folder else "no folder is given"
        raise UserError(f"evaluation.source is local but {where}: set DIFFUTRON_DATA")
    for file in LOCAL[task]:
        for parent in (folder / "cetvel", folder):
            if (parent / file.name).is_file():
                return parent / file.name, file
    return None


def _local_set(task: str, folder: Path | None) -> EvaluationSet:
    found = local_file(task, folder)
    if found is None:
        names = " or ".join(file.name for file in LOCAL[task])
        raise UserError(f"{task}: {folder} holds no {names}")
    path, file = found
    name = path.stem if file.stand_in_for else task
    loaded = _checked(task, name, _read_lines(path), file.row, path.name)
    return replace(loaded, stand_in=file.stand_in_for)


def _read_lines(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            if line.strip():
                yield number, json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise UserError(f"{path}, line {number}: not UTF-8 ({error.reason})") from None
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not JSON ({error.msg})") from None


def _hub_set(task: str) -> EvaluationSet:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    hub = HUB[task]
    origin = f"{hub.name} {hub.config or ''} {hub.split} @ {hub.revision}"
    try:
        if hub.parquet:
            revision = hub.revision.replace("/", "%2F")
            files = f"hf://datasets/{hub.name}@{revision}/{hub.config}/{hub.split}/*.parquet"
            dataset = load_dataset("parquet", data_files={"rows": files}, split="rows")
        else:
            dataset = load_dataset(hub.name, hub.config, split=hub.split, revision=hub.revision)
    except (OSError, ValueError, DatasetsError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"cannot read {origin} from the hub ({reason}); check the network and the "
            "access to the set, or use evaluation.source: local"
        ) from error
    if len(dataset) != hub.rows:
        raise UserError(
            f"{origin} has {len(dataset)} rows where {hub.rows} are expected: "
            "the set on the hub is another one"
        )
    rows = enumerate(_plain_rows(dataset), 1)
    return _checked(task, task, rows, SCHEMA[task], origin)


def _plain_rows(dataset: Any) -> Iterator[dict[str, Any]]:
    """Rows as written in the source: a class label that the hub stores as a number by its name."""
    named = {
        column: feature
        for column, feature in dataset.features.items()
        if hasattr(feature, "int2str") and column == "label" and "sport" in feature.names
    }
    for row in dataset:
        yield row | {column: feature.int2str(row[column]) for column, feature in named.items()}


def _checked(
    task: str, name: str, rows: Iterable[tuple[int, Any]], schema: type[Row], origin: str
) -> EvaluationSet:
    """Rows that fit the schema, with their place in the source as `row`; NLI rows without a label
    (-1: annotators disagreed, no answer can be right) are dropped and counted."""
    kept, dropped = [], {}
    for number, row in rows:
        try:
            values = schema.model_validate(row).model_dump()
        except ValidationError as error:
            raise UserError(f"{origin}, row {number}: {explain_row(error, row)}") from None
        if values.get("label") == -1:
            dropped["label -1"] = dropped.get("label -1", 0) + 1
        else:
            kept.append({"row": number, **values})
    if not kept:
        raise UserError(f"{origin} holds no rows for {task}")
    return EvaluationSet(task=task, name=name, rows=kept, origin=origin, dropped=dropped)
