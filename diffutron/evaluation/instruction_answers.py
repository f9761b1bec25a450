"""Held-out instructions, answered: exact matches, the texts, and how a few of them took shape."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffutron.config.params import GenerationParams
from diffutron.diffusion.sampling.canvas import Denoised
from diffutron.diffusion.sampling.denoise import denoise
from diffutron.diffusion.sampling.settings import Settings
from diffutron.evaluation.statistics.intervals import p_above, wilson
from diffutron.evaluation.text_quality import constant_share, normalized_answer
from diffutron.inference.prompts import end_finder, end_token_ids
from diffutron.inference.results import Trace, decode_events
from diffutron.modeling.head import logits_fn
from diffutron.modeling.tokenizer import END_OF_ANSWER, decode_answer
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import require_folder
from diffutron.runtime.progress import Progress

PHASES = ("phase1", "phase2")
ROWS_A_CALL = 64
COLUMNS = ["id", "source", "prompt", "answer", "input_ids", "answer_start"]


@dataclass(frozen=True)
class HeldoutInstruction:
    """One held-out instruction; `prompt_ids` end where the answer begins."""

    phase: str
    id: str
    source: str
    prompt: str
    expected: str
    prompt_ids: list[int]


def read_instructions(folder: Path, *, rows: int, seed: int) -> list[HeldoutInstruction]:
    """`rows` held-out rows of the stage `instructions`, half of them from each phase (more from
    one where the other has too few), drawn without replacement."""
    require_folder(folder, made_by="instructions")
    held = [_read(folder / f"{phase}_heldout.parquet", phase) for phase in PHASES]
    first = min(len(held[0]), max(rows // 2, rows - len(held[1])))
    counts = (first, min(len(held[1]), rows - first))
    drawn: list[HeldoutInstruction] = []
    for asked, count, phase in zip(held, counts, PHASES, strict=True):
        order = random.Random(f"{seed}:{phase}:questions")
        drawn += [asked[index] for index in sorted(order.sample(range(len(asked)), count))]
    return drawn


def _read(path: Path, phase: str) -> list[HeldoutInstruction]:
    import polars

    try:
        rows = polars.read_parquet(path, columns=COLUMNS).iter_rows(named=True)
    except (OSError, polars.exceptions.PolarsError) as error:
        raise UserError(
            f"cannot read {path} ({' '.join(str(error).split())[:120]}); run `diffutron "
            "instructions` again"
        ) from error
    return [
        HeldoutInstruction(
            phase=phase,
            id=str(row["id"]),
            source=row["source"],
            prompt=row["prompt"],
            expected=row["answer"],
            prompt_ids=row["input_ids"][: row["answer_start"]],
        )
        for row in rows
    ]


def answer_settings(params: GenerationParams) -> Settings:
    """The sampler's settings; steps that do not cover the blocks are a `UserError`."""
    blocks = -(-params.max_new_tokens // params.block_length)
    if params.num_steps < blocks:
        raise UserError(
            f"evaluate.generation.num_steps = {params.num_steps} is below the {blocks} blocks of "
            "max_new_tokens / block_length; raise it"
        )
    return Settings(
        num_steps=params.num_steps, block_length=params.block_length, temperature=params.temperature
    )


def answer(
    model: Any,
    tokenizer: Any,
    questions: Sequence[HeldoutInstruction],
    *,
    params: GenerationParams,
    seed: int,
    desc: str,
) -> list[str]:
    """The model's answer to each question."""
    texts = [""] * len(questions)
    order = sorted(range(len(questions)), key=lambda number: len(questions[number].prompt_ids))
    with Progress(total=len(questions), desc=desc, unit="answer") as bar:
        for start in range(0, len(order), ROWS_A_CALL):
            numbers = order[start : start + ROWS_A_CALL]
            rows = _denoised(
                model, tokenizer, [questions[number] for number in numbers], params, seed
            )
            for number, row in zip(numbers, rows, strict=True):
                texts[number] = decode_answer(tokenizer, row.token_ids)
            bar.update(len(numbers))
    return texts


def _denoised(
    model: Any,
    tokenizer: Any,
    questions: Sequence[HeldoutInstruction],
    params: GenerationParams,
    seed: int,
    *,
    trace: bool = False,
) -> list[Denoised]:
    mask = tokenizer.mask_token_id
    one_token = END_OF_ANSWER in tokenizer.get_vocab()  # then the ids say where an answer ends
    return denoise(
        logits_fn(model, mask_token_id=mask),
        [[*one.prompt_ids, *[mask] * params.max_new_tokens] for one in questions],
        mask_token_id=mask,
        pad_token_id=tokenizer.pad_token_id,
        settings=answer_settings(params),
        seed=seed,
        end_token_ids=end_token_ids(tokenizer, chat=True),
        find_end=None if one_token else end_finder(tokenizer),
        batch_rows=ROWS_A_CALL,
        trace=trace,
        device=model.device,
    )


def instruction_measures(
    questions: Sequence[HeldoutInstruction],
    answers: Sequence[str],
    baselines: Mapping[str, Sequence[str]],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Exact matches (all, by phase) of a model and of the baselines beside it, and a row per
    question for the audit file.

    baselines: their answers by name.
    """
    rows = [
        {
            "phase": one.phase,
            "id": one.id,
            "source": one.source,
            "prompt": one.prompt,
            "expected": one.expected,
            "generated": text,
            "correct": _is_exact(text, one.expected),
            "baselines": {name: texts[number] for name, texts in baselines.items()},
        }
        for number, (one, text) in enumerate(zip(questions, answers, strict=True))
    ]
    parts = {phase: [row for row in rows if row["phase"] == phase] for phase in PHASES}
    by_phase = {phase: _matches(part) for phase, part in parts.items() if part}
    return {**_matches(rows), **by_phase}, rows


def _is_exact(text: str, expected: str) -> bool:
    return normalized_answer(text) == normalized_answer(expected)


def _matches(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """constant: the share that the one answer gets that is right most often, known from these rows.
    p_value: exact one-sided binomial of `acc` against it."""
    correct = sum(row["correct"] for row in rows)
    low, high = wilson(correct, len(rows))
    constant = constant_share(row["expected"] for row in rows)
    beside = {
        name: sum(_is_exact(row["baselines"][name], row["expected"]) for row in rows) / len(rows)
        for name in rows[0]["baselines"]
    }
    return {
        "n": len(rows),
        "correct": correct,
        "acc": correct / len(rows),
        "low": low,
        "high": high,
        "constant": constant,
        **beside,
        "p_value": p_above(correct, len(rows), constant),
    }


def answer_traces(
    model: Any,
    tokenizer: Any,
    questions: Sequence[HeldoutInstruction],
    *,
    params: GenerationParams,
    seed: int,
    count: int,
) -> list[dict[str, Any]]:
    """How `count` answers took shape: those to the questions with the longest expected answers,
    right or wrong, one per source first.

    In the file format of `inference.results.Trace`; positions count from the start of the answer.
    """
    longest = sorted(questions, key=lambda one: (-len(one.expected), one.id))
    first = list({one.source: one for one in reversed(longest)}.values())[::-1]
    rest = [one for one in longest if one not in first]
    chosen = [*sorted(first, key=lambda one: -len(one.expected)), *rest][:count]
    traces = []
    rows = _denoised(model, tokenizer, chosen, params, seed, trace=True) if chosen else []
    for one, row in zip(chosen, rows, strict=True):
        kept = [event for event in row.events if event.position < len(row.canvas)]
        events = decode_events(tokenizer, kept, first=len(one.prompt_ids))
        text = decode_answer(tokenizer, row.token_ids)
        trace = Trace(one.prompt, text, events, params.block_length)
        traces.append({**trace.as_dict(), "expected": one.expected})
    return traces
