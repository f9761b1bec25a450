"""Where the rows of a task lie: files beside it, files of an installed package, or the hub."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from diffutron.config.section import HubRows
from diffutron.data.sources.hub_rows import open_split
from diffutron.data.sources.row_readers import BadLine, RawRow, form_of, name_of, read_file
from diffutron.data.task_spec import FILES, TaskSpec
from diffutron.runtime.errors import UserError


class PackageAbsent(UserError):
    """The package that holds the rows of a task is not installed."""


@dataclass(frozen=True)
class TaskRow:
    """A row as it was read. number: its place among all rows of the task. source: the file
    without its endings, or the configuration of the hub."""

    raw: RawRow | BadLine
    number: int
    source: str


@dataclass(frozen=True)
class Found:
    """Rows of a split. origin: what they come from, in words."""

    origin: str
    rows: Iterator[TaskRow]


def find_rows(
    spec: TaskSpec, split: str, *, path: Path, texts: set[str], folder: Path | None
) -> Found:
    """The rows of a split of a task file.

    Args:
        path: The task file; its data files lie relative to it.
        texts: Columns that hold texts, also where all of them look like numbers.
        folder: That of `--data`, whose files go before the hub where the task names some.

    Raises:
        PackageAbsent: the package that holds the files is not installed.
        UserError: a file or a split is missing.
    """
    options, local = spec.dataset_kwargs, spec.metadata.local
    if spec.dataset_path in FILES:
        files = files_of(spec, split, path)
        found = _of_files(files, texts, field=options.field, separator=options.sep)
        if options.distribution is None:
            return found
        return replace(
            found, origin=f"{options.distribution} {version(options.distribution)}, {found.origin}"
        )
    if local is not None and folder is not None:
        files = sorted(folder.glob(local.files))
        if not files:
            raise UserError(
                f"{spec.task}: {folder} holds no {local.files}; put the files there, or give "
                f"--data hub for {spec.dataset_path}"
            )
        return _of_files(files, texts, field=None, separator=local.sep)
    return _of_hub(spec, split, path)


def _of_files(
    files: Sequence[Path], texts: set[str], *, field: str | None, separator: str
) -> Found:
    """Rows of a single file have the numbers of their lines, those of many are counted."""

    def rows() -> Iterator[TaskRow]:
        number = 0
        for file in files:
            source, _, _ = name_of(file).partition(".")
            mark = separator if form_of(file)[0] == ".csv" else None
            for raw in read_file(file, texts=texts, field=field, separator=mark):
                number += 1
                yield TaskRow(raw, raw.line if len(files) == 1 else number, source)

    names = [name_of(file) for file in files]
    told = ", ".join(names)
    if len(names) > 3:
        told = f"{len(names)} files, {names[0]} to {names[-1]}"
    return Found(told, rows())


def _of_hub(spec: TaskSpec, split: str, path: Path) -> Found:
    """The configurations of a data set, one after the other."""
    names = spec.dataset_name
    many = names if isinstance(names, list) else [names]
    splits = [
        open_split(
            HubRows(
                name=spec.dataset_path,
                revision=spec.dataset_kwargs.revision,
                config=name,
                split=split,
            ),
            setting=f"{path}: dataset_path",
        )
        for name in many
    ]

    def rows() -> Iterator[TaskRow]:
        number = 0
        for name, one in zip(many, splits, strict=True):
            for raw in one.rows():
                number += 1
                yield TaskRow(raw, number, name or spec.dataset_path)

    return Found(splits[0].title, rows())


def files_of(spec: TaskSpec, split: str, path: Path) -> list[Path]:
    """The data files of a split; none for a data set of the hub.

    Raises:
        PackageAbsent: the package that holds them is not installed.
        UserError: none is named, or one is missing.
    """
    options = spec.dataset_kwargs
    if spec.dataset_path not in FILES:
        return []
    named = options.data_files
    if isinstance(named, str | list):
        named = {spec.test_split: named}
    if not isinstance(named, dict) or split not in named:
        raise UserError(
            f"{path}: `dataset_kwargs.data_files` names no file of the split {split!r}; "
            f"write data_files: {{{split}: FILE}}"
        )
    names = [named[split]] if isinstance(named[split], str) else named[split]
    files = [_placed(str(name), spec, path) for name in names]
    for file in files:
        if not file.is_file():
            raise UserError(f"{path}: `dataset_kwargs.data_files.{split}`: {file} does not exist")
    return files


def _placed(name: str, spec: TaskSpec, path: Path) -> Path:
    """A file of the installed package that the task names, else one beside the task file."""
    package, extra = spec.dataset_kwargs.distribution, spec.dataset_kwargs.extra
    if package is None:
        return path.parent / name
    try:
        return Path(str(distribution(package).locate_file(name)))
    except PackageNotFoundError:
        wanted = f"'diffutron[{extra}]'" if extra else package
        raise PackageAbsent(
            f"{spec.task}: the package {package}, which holds its rows, is not installed; "
            f"pip install {wanted}"
        ) from None
