"""`diffutron tasks`: which tasks there are, and whether a task file of somebody's own is right."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffutron.config.section import TASKS
from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet, load_rows, local_file
from diffutron.data.evaluation_sets.places import HUB
from diffutron.data.own_tasks import SHIPPED, OwnTask, chance, shipped_names
from diffutron.data.task_folder import read_tasks
from diffutron.data.task_rows import PackageAbsent
from diffutron.evaluation.cetvel.asked import place_of
from diffutron.evaluation.cetvel.protocols import PROTOCOLS
from diffutron.evaluation.cetvel.questions import Question, ask
from diffutron.modeling.encoding import encode_pairs, move_space
from diffutron.modeling.tokenizer import load_tokenizer

SHIPPED_AS = "with the package, asked by name"
SHOWN = 3  # rows that `check` prints


def list_tasks(folder: Path | None, *, data: str | None) -> list[dict[str, Any]]:
    """name, kind, license, rows, chance and source of each task: the seven, those that come with
    the package besides, and somebody's own.

    chance is null for a set whose rows are not at hand: those of the hub are not fetched for it.
    """
    mine = read_tasks(folder)
    shipped = [OwnTask(SHIPPED / f"{name}.yaml") for name in shipped_names() if name not in mine]
    return [
        *(_known(task, data) for task in TASKS),
        *(_shipped(task, data) for task in shipped),
        *(_described(task, task.rows(), str(task.path)) for task in mine.values()),
    ]


def _described(own: OwnTask, found: EvaluationSet, place: str) -> dict[str, Any]:
    return _head(own) | {
        "rows": len(found.rows),
        "chance": chance(found.rows),
        "from": f"{place} ({found.origin})",
    }


def _head(own: OwnTask) -> dict[str, Any]:
    meta = own.spec.metadata
    return {"task": own.name, "kind": meta.kind, "license": meta.license}


def _shipped(own: OwnTask, data: str | None) -> dict[str, Any]:
    """A task that comes with the package, with its rows where they are at hand."""
    spec, (_, folder) = own.spec, place_of(data)
    if spec.metadata.local is None or (folder and any(folder.glob(spec.metadata.local.files))):
        try:
            return _described(own, own.rows(folder), SHIPPED_AS)
        except PackageAbsent as error:
            return _head(own) | {"rows": spec.metadata.rows, "chance": None, "from": str(error)}
    absent = f", not in {folder}" if folder else ""
    place = f"{SHIPPED_AS} ({spec.dataset_path} on the hub{absent})"
    return _head(own) | {"rows": spec.metadata.rows, "chance": None, "from": place}


def _known(task: str, data: str | None) -> dict[str, Any]:
    """One of the seven: by its rows in a folder or the sample, else by what the hub should have."""
    values = {"task": task, "kind": "multiple_choice", "license": HUB[task].license}
    source, folder = place_of(data)
    if source == "hub" or (source == "local" and local_file(task, folder) is None):
        absent = f", not in {folder}" if source == "local" else ""
        return values | {"rows": HUB[task].rows, "chance": None, "from": HUB[task].title + absent}
    found = load_rows(task, source=source, folder=folder)
    shares = [1 / len(one.choices) for one in ask(found, PROTOCOLS["corrected"])]
    share = sum(shares) / len(shares)
    return values | {"rows": len(shares), "chance": share, "from": found.origin}


def check_task(path: Path, *, tokenizer: Path | None) -> dict[str, Any]:
    """What a task file asks; `path` may be the name of a task that comes with the package.

    Returns: task, kind, rows, chance, clusters, shown (the first rows as they are asked; with a
    tokenizer, what each choice becomes) and notes: what is allowed, and seldom meant.

    Raises:
        UserError: the file or a row of it is wrong.
    """
    if str(path) in shipped_names() and not path.exists():
        path = SHIPPED / f"{path}.yaml"
    own = OwnTask(path)
    folder = place_of(None)[1] if own.spec.metadata.local else None
    training, dataset = own.training(folder), own.rows(folder)
    questions = ask(dataset, PROTOCOLS["corrected"])
    made = load_tokenizer(tokenizer) if tokenizer else None
    groups = Counter(row["cluster"] for row in dataset.rows if row["cluster"] is not None)
    return {
        "task": own.name,
        "kind": own.spec.metadata.kind,
        "license": own.spec.metadata.license,
        "origin": dataset.origin,
        "rows": len(questions),
        "training_rows": len(training.rows) if training else 0,
        "sha256": dataset.digest,
        "chance": chance(dataset.rows),
        "clusters": len(groups),
        "shown": [_shown(one, made) for one in questions[:SHOWN]],
        "notes": [
            *(f"{count} rows are left out: {why}" for why, count in dataset.dropped.items()),
            *_notes(questions, own, made),
        ],
    }


def _shown(one: Question, tokenizer: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "row": one.row,
        "text": one.context,
        "choices": [one.delimiter + choice for choice in one.choices],
        "right": one.gold,
    }
    if tokenizer is not None:
        pairs = encode_pairs(tokenizer, [move_space(*pair) for pair in one.pairs])
        values["tokens"] = [[tokenizer.decode([n]) for n in p.continuation] for p in pairs]
    return values


def _notes(questions: list[Question], own: OwnTask, tokenizer: Any) -> Iterator[str]:
    same = sum(count - 1 for count in Counter(one.key for one in questions).values())
    if same:
        yield f"{same} of {len(questions)} questions stand there twice"
    gold = Counter(one.gold for one in questions)
    index, most = gold.most_common(1)[0]
    if len(questions) >= 30 and most > 0.8 * len(questions):
        yield f"choice {index} is right in {most} of {len(questions)} rows: a constant answer wins"
    if own.spec.metadata.license is None:
        yield "metadata.license is not given: others cannot tell whether they may use the rows"
    if tokenizer is not None:
        unknown = tokenizer.unk_token_id
        pairs = [move_space(*pair) for one in questions for pair in one.pairs]
        lost = sum(unknown in pair.continuation for pair in encode_pairs(tokenizer, pairs))
        if lost:
            yield f"{lost} of {len(pairs)} choices hold characters that the tokenizer does not know"
