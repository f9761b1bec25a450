"""Evaluation items that stand in the training data of a run, by the matcher that keeps them out.

A run decontaminates its corpus and instructions before it trains; this looks again at what it
trained on, item by item, so that scores can be given with and without the items it has seen.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from diffutron.config.params import ContaminationParams
from diffutron.data.matching.decontaminate import Contamination, items_of
from diffutron.evaluation.cetvel.asked import TaskMaterial
from diffutron.runtime.files import content_digest, write_json
from diffutron.runtime.progress import Progress
from diffutron.text.turkish import words

FILES = ("train.parquet", "phase*_train.parquet")  # of the stages `corpus` and `instructions`


def training_files(folders: Sequence[Path]) -> list[Path]:
    return sorted(path for folder in folders for name in FILES for path in folder.glob(name))


def training_texts(files: Sequence[Path]) -> Iterator[str]:
    """Documents, and of instructions the question with its answer."""
    import polars

    for path in files:
        table = polars.read_parquet(path)
        if "text" in table.columns:
            yield from table["text"]
        else:
            for prompt, answer in zip(table["prompt"], table["answer"], strict=True):
                yield f"{prompt}\n{answer}"


def touched_rows(
    asked: Sequence[TaskMaterial],
    folders: Sequence[Path],
    rules: ContaminationParams,
    cache_folder: Path,
) -> dict[str, list[int]] | None:
    """The rows of each set that a training text gives away; None where no training data is found.

    The same items and the same files are searched once; the result is kept in `cache_folder`.
    """
    files = training_files(folders)
    if not files:
        return None
    sets = {one.name: one.one for one in asked}
    items = [item for one in sets.values() for item in items_of(one.name, one.rows, one.task)]
    told = json.dumps([content_digest(files), rules.model_dump(), [item.name for item in items],
                       sorted(one.digest for one in sets.values())])  # fmt: skip
    path = cache_folder / f"touched-{hashlib.sha256(told.encode()).hexdigest()[:16]}.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    index = Contamination(items, rules)
    names = {name for text in _shown(files) for name in index.find_all(words(text))}
    found: dict[str, list[int]] = {name: [] for name in sets}
    for name in names:
        task, _, row = name.rpartition(":")
        found[task].append(int(row))
    found = {task: sorted(rows) for task, rows in found.items()}
    write_json(path, found)
    return found


def _shown(files: Sequence[Path]) -> Iterator[str]:
    import polars

    total = sum(polars.scan_parquet(path).select(polars.len()).collect().item() for path in files)
    with Progress(total=total, desc="overlap with training data", unit="text") as bar:
        for text in training_texts(files):
            yield text
            bar.update()
