"""Evaluation items that stand in the training data of a run, by the matcher that keeps them out.

A run decontaminates its corpus and instructions before it trains; this looks again at what it
trained on, item by item, so that scores can be given with and without the items it has seen.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import polars

from diffutron.config.data_params import ContaminationRules
from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet
from diffutron.data.matching.decontaminate import Contamination, items_of
from diffutron.runtime.files import content_digest, read_json, write_json
from diffutron.runtime.progress import Progress

FILES = ("train.parquet", "phase*_train.parquet")  # of the stages `corpus` and `instructions`


def training_files(folders: Sequence[Path]) -> list[Path]:
    return sorted(path for folder in folders for name in FILES for path in folder.glob(name))


def training_texts(files: Sequence[Path]) -> Iterator[str]:
    """Documents, and of instructions the question with its answer."""
    for path in files:
        table = polars.read_parquet(path)
        if "text" in table.columns:
            yield from table["text"]
        else:
            for prompt, answer in zip(table["prompt"], table["answer"], strict=True):
                yield f"{prompt}\n{answer}"


def contaminated_rows(
    sets: Iterable[EvaluationSet],
    folders: Sequence[Path],
    rules: ContaminationRules,
    cache_folder: Path,
) -> dict[str, list[int]] | None:
    """The rows of each set that a training text gives away; None where no training data is found.

    The same items and the same files are searched once; the result is kept in `cache_folder`.
    """
    files = training_files(folders)
    if not files:
        return None
    named = {one.name: one for one in sets}
    items = [item for one in named.values() for item in items_of(one.name, one.rows, one.task)]
    asked = json.dumps([content_digest(files), rules.model_dump(), [item.name for item in items],
                        sorted(one.digest for one in named.values())])  # fmt: skip
    key = hashlib.sha256(asked.encode()).hexdigest()[:16]
    path = cache_folder / f"contaminated-{key}.json"
    if path.is_file():
        return read_json(path)
    index = Contamination(items, rules)
    total = sum(polars.scan_parquet(file).select(polars.len()).collect().item() for file in files)
    names: set[str] = set()
    with Progress(total=total, desc="overlap with training data", unit="text") as bar:
        for text in training_texts(files):
            names.update(index.find_all(text))
            bar.update()
    found: dict[str, list[int]] = {name: [] for name in named}
    for name in names:
        task, _, row = name.rpartition(":")
        found[task].append(int(row))
    found = {task: sorted(rows) for task, rows in found.items()}
    write_json(path, found)
    return found
