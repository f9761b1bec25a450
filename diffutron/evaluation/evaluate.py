"""Stage `evaluate`: base, merged, phase 1 and phase 2 on text, tasks, instructions, generation."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffutron.config.params import EvaluateParams, Params
from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet, load_sets
from diffutron.data.evaluation_sets.perplexity_text import read_perplexity_text
from diffutron.data.sources.sources import local_digest
from diffutron.evaluation.instruction_answers import (
    Question,
    answer,
    answer_settings,
    answer_traces,
    as_json_lines,
    instruction_measures,
    read_questions,
)
from diffutron.evaluation.perplexity import (
    TextMeasures,
    TextSet,
    compare,
    heldout_set,
    measure,
    text_set,
    unigram_bits_per_byte,
)
from diffutron.evaluation.scoring.task_numbers import (
    answered_items,
    item_rows,
    summarize,
)
from diffutron.evaluation.text_quality import listed_words, measures
from diffutron.modeling.encoder import load_model
from diffutron.modeling.tokenizer import load_tokenizer
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import atomic_folder, require_folder, write_json, write_text

MADE_BY = {
    "base": "backbone",
    "merged": "merge",
    "phase1": "instruct_phase1",
    "phase2": "instruct_phase2",
}
TASK_KEYS = (
    "n", "correct", "acc", "acc_norm", "low", "high", "chance", "constant", "p_value", "stand_in",
    "ties",
)  # fmt: skip


@dataclass(frozen=True)
class Material:
    """What every model is measured on."""

    tokenizer: Any
    sets: list[EvaluationSet]
    tasks: dict[str, Any]
    texts: dict[str, TextSet]
    questions: list[Question]
    is_word: Callable[[str], bool]


def evaluate(
    params: Params,
    *,
    backbone: Path,
    merged: Path,
    phase1: Path,
    phase2: Path,
    corpus: Path,
    instructions: Path,
    out: Path,
    metrics: Path,
) -> None:
    """Measure the four models; numbers into `metrics`, single items and traces into `out`.

    Raises:
        UserError: an input is missing or does not fit, or the local data changed.
    """
    started = time.perf_counter()
    section = params.evaluate
    folders = {"base": backbone, "merged": merged, "phase1": phase1, "phase2": phase2}
    answer_settings(section.generation)
    tokenizer = shared_tokenizer(folders)
    sets, missing = read_sets(section)
    for task in missing:
        print(f"evaluate: {task} is not in the local folder and is left out", flush=True)
    material = Material(
        tokenizer=tokenizer,
        sets=sets,
        tasks=_tasks(sets, section),
        texts={
            "heldout": heldout_set(
                corpus, tokenizer, documents=section.heldout_documents, seed=params.seed
            ),
            "perplexity_text": text_set(
                read_perplexity_text(section.perplexity_text, seed=params.seed), tokenizer
            ),
        },
        questions=read_questions(instructions, rows=section.instruction_rows, seed=params.seed),
        is_word=_word_test(params, corpus),
    )
    with atomic_folder(out) as work:
        found = {
            name: _measure_model(name, folder, material, params=params, work=work)
            for name, folder in folders.items()
        }
    values: dict[str, Any] = {
        "models": {name: numbers for name, (numbers, _) in found.items()},
        **_comparisons(material, {name: texts for name, (_, texts) in found.items()}, params.seed),
        "unigram_bits_per_byte": unigram_bits_per_byte(
            corpus, tokenizer, material.texts["heldout"]
        ),
        "sets": {one.name: _describe(one) for one in sets},
        "missing_sets": missing,
        "seconds": round(time.perf_counter() - started, 2),
        "device": str(_device()),
    }
    write_json(metrics, values)


def shared_tokenizer(folders: dict[str, Path]) -> Any:
    """The one tokenizer of the four models; their numbers compare only if it is the same."""
    prints: dict[str, str] = {}
    for name, folder in folders.items():
        require_folder(folder, made_by=MADE_BY[name])
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise UserError(f"{path} does not exist; run the stage `{MADE_BY[name]}` again")
        prints[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        if prints[name] != prints["base"]:
            raise UserError(
                f"{folder} and {folders['base']} have different tokenizers; run the stage "
                f"`{MADE_BY[name]}` again"
            )
    return load_tokenizer(folders["base"])


def read_sets(section: EvaluateParams) -> tuple[list[EvaluationSet], list[str]]:
    """The evaluation sets and the names of missing ones; local data must be as `digest` says."""
    if "local" in (section.source, section.perplexity_text.source):
        found = local_digest("evaluate")
        if found != section.digest:
            was = "is not set" if section.digest is None else "does not fit the local files"
            raise UserError(f"evaluate.digest {was}: run `diffutron params` again")
    folder = os.environ.get("DIFFUTRON_DATA")
    return load_sets(
        section.tasks,
        source=section.source,
        folder=Path(folder) if folder else None,
        digest=section.digest if section.source == "hub" else None,
    )


def _tasks(sets: Sequence[EvaluationSet], section: EvaluateParams) -> dict[str, Any]:
    from diffutron.evaluation.lm_eval_model import build_tasks

    return build_tasks(sets, casing=section.casing)


def _word_test(params: Params, corpus: Path) -> Callable[[str], bool]:
    if params.corpus.source == "sample":
        from diffutron.sample import is_word

        return is_word
    return listed_words(corpus / "words.txt")


def _device() -> Any:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _measure_model(
    name: str, folder: Path, material: Material, *, params: Params, work: Path
) -> tuple[dict[str, Any], dict[str, TextMeasures]]:
    """All numbers of one model, and its measures of each text set for the comparisons."""
    started = time.perf_counter()
    model = _load(name, folder)
    texts = {
        kind: measure(
            model,
            material.tokenizer,
            texts,
            num_samples=params.evaluate.nelbo_samples,
            seed=params.seed,
            desc=f"{name}, {kind.replace('_', ' ')}",
        )
        for kind, texts in material.texts.items()
    }
    tasks = _measure_tasks(name, model, material, params=params, work=work)
    answers = _measure_answers(name, model, material, params=params, work=work)
    numbers = {
        **_text_numbers(texts["heldout"]),
        "perplexity_text": _text_numbers(texts["perplexity_text"]),
        "tasks": {task: {key: values[key] for key in TASK_KEYS} for task, values in tasks.items()},
        **answers,
        "seconds": round(time.perf_counter() - started, 2),
    }
    return numbers, texts


def _load(name: str, folder: Path) -> Any:
    model = load_model(folder, made_by=MADE_BY[name])
    if not all(weight.isfinite().all() for weight in model.parameters()):
        raise UserError(
            f"{folder} holds weights that are not finite numbers: its training diverged; run the "
            f"stage `{MADE_BY[name]}` again with a smaller learning rate"
        )
    return model.to(_device()).eval()


def _text_numbers(texts: TextMeasures) -> dict[str, Any]:
    return {
        "bits_per_byte": texts.bits_per_byte,
        "bits_per_byte_stderr": texts.bits_per_byte_stderr,
        "nelbo": texts.nats_per_token,
        "perplexity": texts.perplexity,
    }


def _measure_tasks(
    name: str, model: Any, material: Material, *, params: Params, work: Path
) -> dict[str, dict[str, Any]]:
    from diffutron.evaluation.lm_eval_model import DiffusionLM, run_tasks

    section = params.evaluate
    items = section.max_items_final if name == "phase2" else section.max_items
    chosen = {
        one.task: drawn
        for one in material.sets
        if (drawn := one.draw(items, seed=params.seed)) is not None
    }
    lm = DiffusionLM(
        model,
        material.tokenizer,
        max_rows=section.likelihood_rows,
        seed=params.seed,
        desc=f"{name}, tasks",
    )
    samples = run_tasks(lm, material.tasks, chosen=chosen)
    results: dict[str, dict[str, Any]] = {}
    for one in material.sets:
        answered = answered_items(samples[one.task], lm.scores)
        results[one.name] = summarize(answered, one)
        write_text(work / f"items_{name}_{one.name}.jsonl", as_json_lines(item_rows(answered)))
    write_json(work / f"tasks_{name}.json", {"tasks": results, "requests": lm.counts})
    return results


def _measure_answers(
    name: str, model: Any, material: Material, *, params: Params, work: Path
) -> dict[str, Any]:
    common: dict[str, Any] = {"params": params.evaluate.generation, "seed": params.seed}
    answers = answer(
        model, material.tokenizer, material.questions, desc=f"{name}, answers", **common
    )
    numbers, rows = instruction_measures(material.questions, answers)
    write_text(work / f"instructions_{name}.jsonl", as_json_lines(rows))
    if name == "phase2":
        count = params.evaluate.traces
        traces = answer_traces(model, material.tokenizer, material.questions, count=count, **common)
        write_json(work / "traces.json", traces)
    return {"instructions": numbers, "generation": measures(answers, is_word=material.is_word)}


def _comparisons(
    material: Material, found: dict[str, dict[str, TextMeasures]], seed: int
) -> dict[str, Any]:
    """Merged against base on each text set, paired over documents."""
    pairs = {
        kind: compare(found["base"][kind], found["merged"][kind], texts, seed=seed)
        for kind, texts in material.texts.items()
    }
    return {
        "merged_below_base": pairs["heldout"],
        "perplexity_text": {
            "documents": len(material.texts["perplexity_text"].ids),
            "merged_below_base": pairs["perplexity_text"],
        },
    }


def _describe(one: EvaluationSet) -> dict[str, Any]:
    return {
        "task": one.task,
        "stand_in": one.stand_in,
        "origin": one.origin,
        "rows": len(one.rows),
        "dropped": one.dropped,
        "digest": one.digest,
    }
