"""`diffutron check`: whether all that params.yaml names is there, before anything runs.

Of a data set the card, the names of the files and the head of one of them are read; offline, what
the cache holds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffutron.config.data_params import HubDataset, HubInstructions
from diffutron.config.params import Params
from diffutron.config.section import HubName, HubRows
from diffutron.data.evaluation_sets.evaluation_sets import load_rows
from diffutron.data.sources.hub_rows import open_split
from diffutron.data.sources.instruction_schemas import phase_of
from diffutron.data.sources.licenses import against, license_of
from diffutron.data.sources.sources import local_digest, local_folder
from diffutron.data.task_folder import SETTING, params_tasks
from diffutron.runtime.errors import UserError
from diffutron.runtime.hub import TOKENIZER, WEIGHTS, cache_space, open_repository


@dataclass(frozen=True)
class Finding:
    """What was found for a setting: a fault, or what is there and how much is still to fetch."""

    name: str
    text: str
    ok: bool = True
    bytes_to_fetch: int = 0


Look = Callable[[], tuple[str, int]]


def check(params: Params) -> list[Finding]:
    """A finding for each source of `params`, and one for the space on the disk."""
    found = [_finding(name, look) for name, look in _looks(params)]
    return [*found, _space(sum(one.bytes_to_fetch for one in found))]


def _finding(name: str, look: Look) -> Finding:
    try:
        text, to_fetch = look()
    except UserError as error:
        return Finding(name, str(error).removeprefix(f"{name}: "), ok=False)
    return Finding(name, text, bytes_to_fetch=to_fetch)


def _space(to_fetch: int) -> Finding:
    place, free = cache_space()
    text = f"{_size(to_fetch)} to fetch, {_size(free)} free in {place}"
    return Finding("space", text, ok=to_fetch < free)


def _looks(params: Params) -> Iterator[tuple[str, Look]]:
    evaluate, text = params.evaluate, params.evaluate.perplexity_text
    for part, patterns in (("tokenizer", TOKENIZER), ("backbone", ("config.json", *WEIGHTS))):
        yield f"{part}.name", _model(getattr(params, part), f"{part}.name", patterns)
    if params.corpus.source == "hub":
        for entry in params.corpus.hub:
            yield "corpus.hub", lambda entry=entry: _rows(entry, "corpus.hub", params)
    else:
        yield "corpus.source", lambda: _here(params, "corpus")
    if params.instructions.source == "hub":
        for entry in (params.instructions.phase1, params.instructions.phase2):
            name = f"instructions.phase{1 if entry is params.instructions.phase1 else 2}"
            yield name, lambda entry=entry, name=name: _rows(entry, name, params)
    else:
        yield "instructions.source", lambda: _here(params, "instructions")
    if evaluate.source == "hub":
        for task in evaluate.tasks:
            yield f"evaluate.source: {task}", lambda task=task: _task(task)
    else:
        yield "evaluate.source", lambda: _here(params, "evaluate")
    if evaluate.tasks_dir is not None:
        yield SETTING, lambda: _own_tasks(params)
    if text.source == "hub":
        name = "evaluate.perplexity_text"
        yield name, lambda: _rows(text, name, params)


def _model(section: Any, setting: str, patterns: tuple[str, ...]) -> Look:
    def look() -> tuple[str, int]:
        if section.source == "scratch":
            return "trained here", 0
        if section.source == "local":
            if not Path(section.name).is_dir():
                raise UserError(f"there is no folder {section.name}")
            return f"folder {section.name}", 0
        found = _opened(section, setting)
        if not found.matching(*patterns):
            raise UserError(f"{found.title} holds no file {' or '.join(patterns)}")
        found.read_start(found.matching(*patterns)[0], lambda stream: stream.read(1))
        license = license_of(section.name, _stated(found.card())).license
        to_fetch = found.bytes_to_fetch(*patterns)
        return f"{found.title}, license {license}, {_size(to_fetch)} to fetch", to_fetch

    return look


def _opened(entry: HubName, setting: str) -> Any:
    return open_repository(
        entry.name, revision=entry.revision, commit=entry.commit, setting=setting
    )


def _rows(entry: HubRows, setting: str, params: Params) -> tuple[str, int]:
    found = open_split(entry, setting=setting)
    fields = found.fields()
    if not fields:
        raise UserError(f"{found.title} holds no row that can be read")
    if isinstance(entry, HubInstructions):
        if lost := [name for name in entry.fields.values() if name not in fields]:
            raise found.lacks(lost[0])
        if phase_of(dict.fromkeys([*fields, *entry.fields], "")) is None:
            raise UserError(
                f"{found.title} has the fields {', '.join(fields)}, which are no instructions; "
                f"name them in {setting}.fields"
            )
    elif (field := getattr(entry, "field", None)) not in fields:
        raise found.lacks(str(field))
    license = license_of(
        entry.name, getattr(entry, "license", None) or _stated(found.repository.card())
    )
    rules = params.corpus
    faults = against({"data": [license]}, use=rules.use, allowed=rules.allowed_licenses)
    if isinstance(entry, HubDataset) and faults:
        raise UserError("; ".join(faults))
    counts = [count for count in (found.promised, entry.limit) if count is not None]
    rows = f"{min(counts)} rows" if counts else "number of rows not stated"
    to_fetch = sum(found.repository.bytes_to_fetch(file) for file in found.files)
    return f"{found.title}, {rows}, license {license.license}, {_size(to_fetch)} to fetch", to_fetch


def _task(task: str) -> tuple[str, int]:
    rows = load_rows(task, source="hub")
    return f"{rows.origin}, {len(rows.rows)} rows", 0


def _own_tasks(params: Params) -> tuple[str, int]:
    rows = {name: len(task.rows().rows) for name, task in params_tasks(params.evaluate).items()}
    return ", ".join(f"{name} ({count} rows)" for name, count in rows.items()), 0


def _here(params: Params, section: str) -> tuple[str, int]:
    part = getattr(params, section)
    if part.source == "sample":
        return "built-in sample", 0
    if (found := local_digest(section)) != part.digest:
        was = "is not set" if part.digest is None else f"is not that of the files ({found})"
        raise UserError(f"{section}.digest {was}; run `diffutron params` again")
    return ", ".join(map(str, local_folder(section))), 0


def _stated(card: dict[str, Any]) -> str | None:
    license = card.get("license")
    return ", ".join(license) if isinstance(license, list) else license


def _size(number: int) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
