"""Rows of a data set of the hub, read from local files: those of one split, as many as asked for.

Which files a configuration and a split mean is told by the set's card or by the names of its
files, as `datasets` reads them. A file is fetched when its first row is needed.
"""

import json
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from diffutron.config.section import HubRows
from diffutron.data.sources.row_readers import READABLE, BadLine, RawRow, read_file
from diffutron.runtime.errors import UserError
from diffutron.runtime.hub import CARD, HubError, Repository, open_repository
from diffutron.runtime.json_lines import parse_lines

WHOLE = 20_000_000  # bytes up to which a file is fetched for the names of its fields


@dataclass(frozen=True)
class HubSplit:
    """A split of a data set: its files in order, and what the card says of it.

    promised: the number of its rows, if the card tells it. classes: names by number, of the
    columns whose values are classes.
    """

    repository: Repository
    split: str
    files: list[str]
    promised: int | None
    classes: dict[str, list[str]]

    @property
    def title(self) -> str:
        return f"{self.repository.title}, split {self.split}"

    def rows(
        self, *, columns: Collection[str] = (), limit: int | None = None
    ) -> Iterator[RawRow | BadLine]:
        """Its rows, numbered from 1 over all files.

        Args:
            columns: What is read of a file of columns, as far as it is there; all by default.
            limit: The most rows; files behind them are not fetched.
        """
        number = 0
        for file in self.files:
            folder = self.repository.fetch(escape(file))
            for row in read_file(folder / file, columns=columns):
                number += 1
                if isinstance(row, BadLine):
                    yield BadLine(self.repository.name, number, row.why)
                else:
                    yield RawRow(self.repository.name, number, row.values)
                if number == limit:
                    return
        if not number:
            raise UserError(f"{self._told()}{self.title} holds no rows; choose another")

    def with_fields(
        self, *wanted: str, optional: Collection[str] = (), limit: int | None = None
    ) -> Iterator[RawRow | BadLine]:
        """The rows, once it is sure that the first has all fields that are wanted."""
        checked = False
        for row in self.rows(columns={*wanted, *optional}, limit=limit):
            if not checked and isinstance(row, RawRow):
                if lost := [name for name in wanted if name not in row.values]:
                    raise self.lacks(lost[0])
                checked = True
            yield row

    def lacks(self, field: str) -> UserError:
        """The error of a field that the set does not have; names those that it has."""
        there = ", ".join(self.fields()) or "none that can be read"
        return UserError(
            f"{self._told()}{self.title} has no field {field!r}; it has {there}: change the params"
        )

    def fields(self) -> list[str]:
        """The fields of the first row; of a large file only its head is fetched for it."""
        file = self.files[0]
        if file.endswith(".parquet"):
            from pyarrow.parquet import read_schema

            return self.repository.read_start(file, lambda stream: list(read_schema(stream).names))
        if file.endswith(".jsonl") and self.repository.bytes_to_fetch(escape(file)) > WHOLE:
            line = self.repository.read_start(file, lambda stream: stream.readline())
            first = next((value for _, value in parse_lines([line])), None)
            return list(first) if isinstance(first, dict) else []
        row = next((row for row in self.rows(limit=1) if isinstance(row, RawRow)), None)
        return list(row.values) if row else []

    def class_names(self, column: str) -> list[str]:
        """The names of a column's classes, by the card or the first file; empty without any."""
        if column not in self.classes and self.files[0].endswith(".parquet"):
            from pyarrow.parquet import read_schema

            file = self.repository.fetch(escape(self.files[0])) / self.files[0]
            stated = json.loads((read_schema(file).metadata or {}).get(b"huggingface", b"{}"))
            found = stated.get("info", {}).get("features", {}).get(column, {})
            return found.get("names", []) if isinstance(found, dict) else []
        return self.classes.get(column, [])

    def _told(self) -> str:
        return f"{self.repository.setting}: " if self.repository.setting else ""


def open_split(entry: HubRows, *, setting: str, export: bool = False) -> HubSplit:
    """The files of a split at the commit of its revision.

    Args:
        setting: Where the set is named, for error lines.
        export: The revision is the hub's own export to parquet, in folders CONFIG/SPLIT.

    Raises:
        HubError: the hub does not give the set.
        UserError: there is no such configuration or split, or no file that can be read.
    """
    repository = open_repository(
        entry.name, kind="dataset", revision=entry.revision, commit=entry.commit, setting=setting
    )
    if export:
        pattern = f"{entry.config}/{entry.split}/*.parquet"
        if not (files := sorted(repository.matching(pattern))):
            raise HubError(f"{setting}: {repository.title} holds no file {pattern}", "no file")
        return HubSplit(repository, entry.split, files, None, {})
    return _by_card(repository, entry, setting)


def _by_card(repository: Repository, entry: HubRows, setting: str) -> HubSplit:
    from datasets import ClassLabel, load_dataset_builder
    from datasets.exceptions import DatasetsError
    from datasets.utils import logging

    logging.set_verbosity_error()
    readable = repository.matching(*(f"*{ending}" for ending in READABLE))
    if not readable:
        raise UserError(
            f"{setting}: {repository.title} holds no file of {', '.join(READABLE)}; choose another"
        )
    # `datasets` tells splits from the names of files alone; their bytes are not needed for it.
    with tempfile.TemporaryDirectory() as name:
        shape = Path(name, "set")
        for path in readable:
            (shape / path).parent.mkdir(parents=True, exist_ok=True)
            (shape / path).touch()
        if CARD in repository.sizes:
            card = repository.fetch(CARD) / CARD
            (shape / CARD).write_bytes(card.read_bytes())
        try:
            builder: Any = load_dataset_builder(str(shape), entry.config)
        except (DatasetsError, ValueError, OSError) as error:
            reason = " ".join(str(error).partition("Example of usage")[0].split())[:200]
            raise UserError(
                f"{setting}: {repository.title} cannot be read with config {entry.config}: {reason}"
            ) from error
        splits = {
            str(split): [Path(file).relative_to(shape).as_posix() for file in files]
            for split, files in (builder.config.data_files or {}).items()
        }
    if entry.split not in splits:
        raise UserError(
            f"{setting}: {repository.title} has no split {entry.split}; choose one of "
            f"{', '.join(splits)}"
        )
    stated = (builder.info.splits or {}).get(entry.split)
    classes = {
        column: feature.names
        for column, feature in (builder.info.features or {}).items()
        if isinstance(feature, ClassLabel)
    }
    promised = stated.num_examples if stated else None
    return HubSplit(repository, entry.split, splits[entry.split], promised, classes)
