"""A folder of somebody's own task files: read as a whole, and held to what `params.yaml` says."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from diffutron.config.params import EvaluateParams
from diffutron.data.own_tasks import SHIPPED, OwnTask, shipped_names
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import file_digest

SETTING = "evaluate.tasks_dir"


def read_tasks(folder: Path | None, *, setting: str = "--tasks-dir") -> dict[str, OwnTask]:
    """The tasks of the files `*.yaml` of a folder, by name; none without a folder.

    A file whose name begins with `_` is one that others include, and is passed over.

    Args:
        setting: What named the folder, for messages.

    Raises:
        UserError: there is no such folder or no task in it, a file is wrong, or two have one name.
    """
    if folder is None:
        return {}
    if not folder.is_dir():
        raise UserError(f"{setting} {folder}: no such folder; give one with task files (*.yaml)")
    files = [p for p in sorted(folder.iterdir()) if p.suffix in (".yaml", ".yml")]
    tasks: dict[str, OwnTask] = {}
    for task in map(OwnTask, (path for path in files if not path.name.startswith("_"))):
        if task.name in tasks:
            raise UserError(f"{task.path}: `task` = {task.name!r} is also that of "
                            f"{tasks[task.name].path}; rename one of them")  # fmt: skip
        tasks[task.name] = task
    if not tasks:
        raise UserError(f"{setting} {folder}: holds no task file (*.yaml)")
    return tasks


def named_tasks(folder: Path | None, names: Sequence[str] | None) -> dict[str, OwnTask]:
    """Somebody's own tasks of a folder, and those of this package that are among `names`.

    An own task goes before one of this package that has the same name.
    """
    own = read_tasks(folder)
    wanted = [name for name in shipped_names() if name in (names or ()) and name not in own]
    return own | {name: OwnTask(SHIPPED / f"{name}.yaml") for name in wanted}


def tasks_digest(tasks: Mapping[str, OwnTask]) -> str:
    """sha256 over the keys of the tasks and the bytes of their data files, wherever they lie."""
    found = [
        [tasks[name].spec.model_dump(mode="json"), [*map(file_digest, tasks[name].files())]]
        for name in sorted(tasks)
    ]
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def params_tasks(section: EvaluateParams) -> dict[str, OwnTask]:
    """The tasks of `evaluate.tasks_dir`, by name; none where it is null.

    Raises:
        UserError: as `read_tasks`, or the files are not those of `evaluate.tasks_digest`.
    """
    if section.tasks_dir is None:
        return {}
    tasks = read_tasks(Path(section.tasks_dir), setting=SETTING)
    if section.tasks_digest != tasks_digest(tasks):
        was = "is not set" if section.tasks_digest is None else "does not fit the files of "
        where = "" if section.tasks_digest is None else section.tasks_dir
        raise UserError(f"evaluate.tasks_digest {was}{where}: run `diffutron params` again")
    return tasks
