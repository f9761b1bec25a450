"""Stage `evaluate`: base, merged, phase 1 and phase 2 on text, tasks, instructions, generation.

The tasks are asked by the engine of the leaderboard (`scoring`): a stage that was killed goes on
from the answers that it has, and sanity checks stand beside every number.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diffutron.config.names import CALIBRATION
from diffutron.config.params import EvaluateParams, Params
from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet, load_sets
from diffutron.data.evaluation_sets.findable import CACHE, findable_in
from diffutron.data.evaluation_sets.perplexity_text import read_perplexity_text
from diffutron.data.sources.sources import local_digest
from diffutron.data.task_folder import params_tasks
from diffutron.evaluation.calibration import calibrate
from diffutron.evaluation.cetvel.asked import EvalTask
from diffutron.evaluation.cetvel.protocols import PROTOCOLS
from diffutron.evaluation.instruction_answers import (
    HeldoutInstruction,
    answer,
    answer_settings,
    answer_traces,
    instruction_measures,
    read_instructions,
)
from diffutron.evaluation.instruction_baselines import baseline_answers
from diffutron.evaluation.perplexity import (
    TextMeasures,
    TextSet,
    compare,
    heldout_set,
    measure,
    text_set,
)
from diffutron.evaluation.probe import probe, probe_numbers, read_probes
from diffutron.evaluation.scorers.loading import folder_digest
from diffutron.evaluation.scoring import sanity_checks
from diffutron.evaluation.scoring.contamination import contaminated_rows
from diffutron.evaluation.scoring.score_system import score_model
from diffutron.evaluation.scoring.task_numbers import json_lines, summarize
from diffutron.evaluation.text_baselines import text_baselines
from diffutron.evaluation.text_quality import listed_words, measures
from diffutron.inference.language_model import LanguageModel, find_device
from diffutron.modeling.encoder import load_model
from diffutron.modeling.tokenizer import load_tokenizer
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import (
    atomic_folder,
    file_digest,
    require_folder,
    write_json,
    write_text,
)
from diffutron.runtime.progress import Progress

MADE_BY = {
    "base": "backbone",
    "merged": "merge",
    "phase1": "instruct_phase1",
    "phase2": "instruct_phase2",
}
FINAL = "phase2"
TUNED = ("phase1", "phase2")
PROTOCOL = {"text": "corrected", "chat": "chat"}
# The four models have one shape and one tokenizer. The checks that cost model runs of their own are
# made on the final one, which is the one that a promotion judges.
CHECKS = {name: ("oracle", "target") for name in MADE_BY} | {FINAL: sanity_checks.NAMES}
TASK_KEYS = (
    "n", "correct", "acc", "acc_norm", "low", "high", "chance", "constant", "p_value", "stand_in",
    "ties",
)  # fmt: skip


@dataclass(frozen=True)
class Material:
    """What every model is measured on; `tasks` by the name of the model."""

    tokenizer: Any
    tasks: dict[str, list[EvalTask]]
    texts: dict[str, TextSet]
    instructions: list[HeldoutInstruction]
    baseline_answers: dict[str, list[str]]
    is_word: Callable[[str], bool]
    probed: list[EvalTask]


@dataclass(frozen=True)
class Measured:
    """Of one model: its numbers, its measures of each text set, and which items its probes answer
    right, by task."""

    numbers: dict[str, Any]
    texts: dict[str, TextMeasures]
    probes: dict[str, Any]


def evaluate(
    params: Params,
    folders: Mapping[str, Path],
    *,
    corpus: Path,
    instructions: Path,
    out: Path,
    metrics: Path,
) -> None:
    """Measure the four models; numbers into `metrics`, single items and traces into `out`.

    folders: of base, merged, phase1 and phase2.

    Raises:
        UserError: an input is missing or does not fit, or the local data changed.
    """
    started = time.perf_counter()
    answer_settings(params.evaluate.generation)
    tokenizer = shared_tokenizer(folders)
    sets, missing = read_sets(params.evaluate)
    for task in missing:
        print(f"evaluate: {task} is not in the local folder and is left out", flush=True)
    probed, not_probed = read_probes(params.evaluate, sets, seed=params.seed)
    material = read_material(
        params, tokenizer, sets, probed=probed, corpus=corpus, instructions=instructions
    )
    with atomic_folder(out) as work:
        found = {
            name: _measure_model(
                name, folder, material, params=params, instructions=instructions, work=work
            )
            for name, folder in folders.items()
        }
    texts = {name: measured.texts for name, measured in found.items()}
    right = {name: measured.probes for name, measured in found.items()}
    # Merged against base on each text set, paired over documents.
    pairs = {
        kind: compare(texts["base"][kind], texts["merged"][kind], each, seed=params.seed)
        for kind, each in material.texts.items()
    }
    baselines, counted = text_baselines(corpus, tokenizer, material.texts, seed=params.seed)
    values: dict[str, Any] = {
        "models": {name: measured.numbers for name, measured in found.items()},
        "probe": probe_numbers(probed, not_probed, right, seed=params.seed),
        **baselines["heldout"],
        "baseline_tokens": counted,
        "merged_below_base": pairs["heldout"],
        "perplexity_text": {
            "documents": len(material.texts["perplexity_text"].ids),
            **baselines["perplexity_text"],
            "merged_below_base": pairs["perplexity_text"],
        },
        "sets": _describe_sets(
            sets, params, training=[corpus, instructions], cache=out.parent / CACHE
        ),
        "missing_sets": missing,
        "seconds": round(time.perf_counter() - started, 2),
        "device": str(find_device(None)),
    }
    write_json(metrics, values)


def shared_tokenizer(folders: Mapping[str, Path]) -> Any:
    """The one tokenizer of the four models; their numbers compare only if it is the same."""
    prints: dict[str, str] = {}
    for name, folder in folders.items():
        require_folder(folder, made_by=MADE_BY[name])
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise UserError(f"{path} does not exist; run the stage `{MADE_BY[name]}` again")
        prints[name] = file_digest(path)
        if prints[name] != prints["base"]:
            raise UserError(
                f"{folder} and {folders['base']} have different tokenizers; run the stage "
                f"`{MADE_BY[name]}` again"
            )
    return load_tokenizer(folders["base"])


def read_sets(section: EvaluateParams) -> tuple[list[EvaluationSet], list[str]]:
    """The evaluation sets, somebody's own last, and the names of those that a folder lacks.

    Raises:
        UserError: a file or a row is wrong, or files are not those of their digest.
    """
    own = [task.rows() for task in params_tasks(section).values()]
    if "local" in (section.source, section.perplexity_text.source):
        found = local_digest("evaluate")
        if found != section.digest:
            was = "is not set" if section.digest is None else "does not fit the local files"
            raise UserError(f"evaluate.digest {was}: run `diffutron params` again")
    if own and not section.tasks:
        return own, []
    folder = os.environ.get("DIFFUTRON_DATA")
    sets, missing = load_sets(
        section.tasks,
        source=section.source,
        folder=Path(folder) if folder else None,
        digest=section.digest if section.source == "hub" else None,
    )
    return [*sets, *own], missing


def read_material(
    params: Params,
    tokenizer: Any,
    sets: Sequence[EvaluationSet],
    *,
    probed: list[EvalTask],
    corpus: Path,
    instructions: Path,
) -> Material:
    """Everything that is asked and read; the final model is asked by `max_items_final`."""
    section, seed = params.evaluate, params.seed
    asked_as = dict.fromkeys(MADE_BY, "text") | dict.fromkeys(TUNED, section.tuned_format)
    protocols = {
        name: replace(PROTOCOLS[PROTOCOL[format]], casing=section.casing)
        for name, format in asked_as.items()
    }
    limits = dict.fromkeys(MADE_BY, section.max_items) | {FINAL: section.max_items_final}
    heldout = heldout_set(corpus, tokenizer, documents=section.heldout_documents, seed=seed)
    text = text_set(read_perplexity_text(section.perplexity_text, seed=seed), tokenizer)
    if params.corpus.source == "sample":
        from diffutron.sample import is_word
    else:
        is_word = listed_words(corpus / "words.txt")
    asked = read_instructions(instructions, rows=section.instruction_rows, seed=seed)
    return Material(
        tokenizer,
        tasks={
            name: [EvalTask.draw(one, protocols[name], limit=limit, seed=seed) for one in sets]
            for name, limit in limits.items()
        },
        texts={"heldout": heldout, "perplexity_text": text},
        instructions=asked,
        baseline_answers=baseline_answers(instructions, asked),
        is_word=is_word,
        probed=probed,
    )


def cache_folder(model: Path) -> Path:
    """Where the answers of a model are kept: among the checkpoints, named by its content."""
    root = Path(os.environ.get("DIFFUTRON_CHECKPOINTS", "checkpoints"))
    return root / f"evaluate-{folder_digest(model)[:16]}"


def _measure_model(
    name: str, folder: Path, material: Material, *, params: Params, instructions: Path, work: Path
) -> Measured:
    """All numbers of one model, and what it is compared by."""
    started = time.perf_counter()
    model: Any = load_model(folder, made_by=MADE_BY[name])
    if not all(weight.isfinite().all() for weight in model.parameters()):
        raise UserError(
            f"{folder} holds weights that are not finite numbers: its training diverged; run the "
            f"stage `{MADE_BY[name]}` again with a smaller learning rate"
        )
    model = model.to(find_device(None)).eval()
    texts = {
        kind: measure(
            model,
            material.tokenizer,
            each,
            num_samples=params.evaluate.nelbo_samples,
            seed=params.seed,
            desc=f"{name}, {kind.replace('_', ' ')}",
        )
        for kind, each in material.texts.items()
    }
    answers = _measure_answers(name, model, material, params=params, work=work)
    if name == FINAL:
        answers["calibration"] = _calibrate(model, material, instructions, params.seed, work)
    probes = {
        one.dataset.task: probe(model, material.tokenizer, one, seed=params.seed)
        for one in material.probed
    }
    # Last, since a sanity check forgets the weights.
    tasks = _measure_tasks(name, folder, model, material, params=params, work=work)
    numbers = {
        **text_numbers(texts["heldout"]),
        "perplexity_text": text_numbers(texts["perplexity_text"]),
        "tasks": tasks,
        **answers,
        "seconds": round(time.perf_counter() - started, 2),
    }
    return Measured(numbers, texts, probes)


def text_numbers(texts: TextMeasures) -> dict[str, Any]:
    return {
        "bits_per_byte": texts.bits_per_byte,
        "bits_per_byte_stderr": texts.bits_per_byte_stderr,
        "nelbo": texts.nats_per_token,
        "perplexity": texts.perplexity,
    }


def _measure_tasks(
    name: str, folder: Path, model: Any, material: Material, *, params: Params, work: Path
) -> dict[str, dict[str, Any]]:
    """The numbers of each task; the answers to single items go into `work`."""
    from diffutron.evaluation.scorers.masked_diffusion import MaskedDiffusion

    tasks, rows = material.tasks[name], params.evaluate.likelihood_rows
    total = sum(len(task.questions) for task in tasks)
    with Progress(total=total, desc=f"{name}, tasks", unit="item") as bar:
        outcomes = score_model(
            lambda: MaskedDiffusion(model, material.tokenizer, max_rows=rows, seed=params.seed),
            tasks,
            name=name,
            identity=(folder_digest(folder), rows, params.seed, model.device.type),
            cache_folder=cache_folder(folder),
            bar=bar,
            checks=CHECKS[name],
        )
    results = {one.task.name: summarize(one.items, one.task.dataset) for one in outcomes}
    write_json(work / f"tasks_{name}.json", {"tasks": results})
    for one in outcomes:
        items = json_lines(item.values for item in one.items)
        write_text(work / f"items_{name}_{one.task.name}.jsonl", items)
        for check, found in one.checks.items():
            if found.passed is False:
                print(f"evaluate: {name}, {one.task.name}: {check} failed: {found.detail}")
    not_made = f"asked of {FINAL}, which has the same shape"
    return {
        one.task.name: {key: results[one.task.name][key] for key in TASK_KEYS}
        | one.check_values(not_made=not_made)
        for one in outcomes
    }


def _measure_answers(
    name: str, model: Any, material: Material, *, params: Params, work: Path
) -> dict[str, Any]:
    common: dict[str, Any] = {"params": params.evaluate.generation, "seed": params.seed}
    asked = material.instructions
    answers = answer(model, material.tokenizer, asked, desc=f"{name}, answers", **common)
    numbers, rows = instruction_measures(asked, answers, material.baseline_answers)
    write_text(work / f"instructions_{name}.jsonl", json_lines(rows))
    if name == FINAL:
        count = params.evaluate.traces
        traces = answer_traces(model, material.tokenizer, asked, count=count, **common)
        write_json(work / "traces.json", traces)
    return {"instructions": numbers, "generation": measures(answers, is_word=material.is_word)}


def _calibrate(
    model: Any, material: Material, instructions: Path, seed: int, work: Path
) -> dict[str, Any]:
    """The temperatures of the final model's decisions, as its version carries them."""
    lm = LanguageModel(model, material.tokenizer, model.device, {"kind": FINAL})
    found = calibrate(
        lm, material.instructions, instructions, seed=seed, desc=f"{FINAL}, decisions"
    )
    write_json(work / CALIBRATION, found)
    return found["kinds"]


def _describe_sets(
    sets: Sequence[EvaluationSet], params: Params, *, training: Sequence[Path], cache: Path
) -> dict[str, dict[str, Any]]:
    """Where each set comes from, and how many of its items stand in the training texts.

    A set that the corpus was cleaned of is not searched for, and nothing is claimed of it. How
    many items the rule can find at all (`findable`) holds for the cleaning and the search.
    """
    rules = params.corpus.contamination
    other = [one for one in sets if one.task not in rules.tasks]
    found = contaminated_rows(other, training, rules, cache) if other else {}
    findable = findable_in(sets, rules, cache)
    described = {}
    for one in sets:
        rows = (found or {}).get(one.name)
        reason = None
        if rows is None:
            cleaned = one not in other
            reason = "the corpus was cleaned of it" if cleaned else "there is no training text"
        described[one.name] = {
            "task": one.task,
            "stand_in": one.stand_in,
            "own": one.own is not None,
            "origin": one.origin,
            "rows": len(one.rows),
            "dropped": one.dropped,
            "digest": one.digest,
            "cleaned_of": one not in other,
            "contaminated": None if rows is None else len(rows),
            "contaminated_share": None if rows is None else len(rows) / len(one.rows),
            "contaminated_reason": reason,
            "findable": len(findable[one.name]["document"]),
            "findable_as_instruction": len(findable[one.name]["instruction"]),
        }
    return described
