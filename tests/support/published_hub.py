"""The repositories that profile `paper` names, small and made up, as a folder for `fake_hub`."""

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from diffutron.config.section import TASKS
from diffutron.data.evaluation_sets.places import HUB, HubSet
from diffutron.sample import documents, essays, evaluation_set, instructions

TRAINING = (
    "steps=6", "epochs=null", "batch_size=8", "micro_batch_rows=4", "checkpoint_every=5",
    "evaluate_every=6", "evaluate_samples=8",
)  # fmt: skip
# What makes profile `paper` a matter of minutes. The names, layouts and methods are those of it.
SCALED = (
    *(
        f"{stage}.training.{each}"
        for stage in ("pretrain", "instruct_phase1", "instruct_phase2")
        for each in TRAINING
    ),
    "pretrain.lora={rank: 4, alpha: 4, dropout: 0.0}",
    "corpus.heldout_documents=8", "instructions.heldout_rows=8",
    "evaluate.max_items=6", "evaluate.max_items_final=8", "evaluate.likelihood_rows=4",
    "evaluate.nelbo_samples=2", "evaluate.heldout_documents=8", "evaluate.instruction_rows=8",
    "evaluate.traces=1", "evaluate.perplexity_text.documents=4",
    "evaluate.generation={max_new_tokens: 16, num_steps: 16, block_length: 8, temperature: 0.1}",
    "register.gate={min_tasks: 0, max_p_value: 1.0, min_instructions: 0.0, min_valid_words: 0.0,"
    " below_baseline: null}",
)  # fmt: skip


def write_published(folder: Path, model: Path, *, rows: int = 60) -> None:
    """`rows` rows a set, of the built-in sample; `model` stands for mmBERT."""
    encoder = folder / "models/jhu-clsp/mmBERT-base"
    shutil.copytree(model, encoder)
    config = json.loads((encoder / "config.json").read_text())
    config["max_position_embeddings"] = max(config["max_position_embeddings"], 2048)
    write_text(encoder / "config.json", json.dumps(config))
    texts = [
        {"text": row["text"], "extra": n} for n, row in enumerate(first(documents(), 4 * rows))
    ]
    corpus = folder / "datasets/diffutron/DiffutronLM-Pretraining-Corpus"
    for shard in (0, 1):
        write_parquet(corpus / f"data/train-0000{shard}-of-00002.parquet", texts[shard::2])
    (corpus / "README.md").write_text(
        "---\nlicense: cc-by-sa-4.0\ndataset_info: {features: [], splits: "
        f"[{{name: train, num_bytes: 1, num_examples: {4 * rows}}}]}}\n---\n"
    )
    alpaca = [
        {name: row.get(name, "") for name in ("instruction", "input", "output")}
        for row in first(instructions(1), rows)
    ]
    text = json.dumps(alpaca, ensure_ascii=False)
    write_text(
        folder / "datasets/metunlp/LlamaTurk-Instruction-Set/alpaca_tr.json", f"\ufeff{text}"
    )
    answers = [
        {name: row[name] for name in ("Input", "Output")} for row in first(instructions(2), rows)
    ]
    write_parquet(
        folder / "datasets/turkish-nlp-suite/InstrucTurca/data/train-00000-of-00001.parquet",
        answers,
    )
    write_parquet(
        folder / "datasets/selimfirat/bilkent-turkish-writings-dataset/data/train-0.parquet",
        [{"text": row["text"]} for row in essays()],
    )
    for task in TASKS:
        write_set(folder, HUB[task], [*evaluation_set(task)])


def write_set(folder: Path, spec: HubSet, items: list[dict[str, Any]]) -> None:
    """An evaluation set with as many rows as its guard expects, in the layout that is read."""
    plain = folder / "datasets" / spec.name
    place = plain.with_name(f"{plain.name}@{quote(spec.revision, safe='')}")
    plain.mkdir(parents=True, exist_ok=True)
    name = f"{spec.config}/{spec.split}/0000" if spec.parquet else spec.split
    number = spec.rows or len(items)
    write_parquet(place / f"{name}.parquet", [items[n % len(items)] for n in range(number)])
    if spec.config and not spec.parquet:
        files = f"[{{split: {spec.split}, path: {name}.parquet}}]"
        card = f"---\nconfigs: [{{config_name: {spec.config}, data_files: {files}}}]\n---\n"
        write_text(place / "README.md", card)


def first(rows: Iterable[Mapping[str, Any]], number: int) -> list[Mapping[str, Any]]:
    return [row for row, _ in zip(rows, range(number), strict=False)]


def write_parquet(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
