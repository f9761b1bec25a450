"""What a model answers to held-out rows, how likely the right answers are to it, and whether
another model is better."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from diffutron.data.instructions.steps import Row
from diffutron.diffusion.likelihood.any_order import fit, score_texts
from diffutron.evaluation.evaluate import cache_folder
from diffutron.evaluation.instruction_answers import HeldoutInstruction, answer
from diffutron.evaluation.instruction_baselines import baseline_answers
from diffutron.evaluation.statistics.intervals import paired_difference, wilson
from diffutron.evaluation.statistics.pair_tests import Results, compare, verdict
from diffutron.evaluation.text_quality import constant_share, normalized_answer
from diffutron.inference.language_model import LanguageModel
from diffutron.modeling.head import logprob_fn
from diffutron.runtime.files import read_json, write_json
from diffutron.runtime.progress import Progress
from diffutron.tuning.settings import TuneParams

BATCH_TOKENS = 16_384
ROWS_A_CALL = 16


@dataclass(frozen=True)
class Answers:
    """Of each asked row: the text that the model gives, and nats of the right answer (a bound)."""

    texts: list[str]
    nats: list[float]


def ask(
    lm: LanguageModel, folder: Path, rows: Sequence[Row], settings: TuneParams, *, desc: str
) -> Answers:
    """Answers to the rows; those of an earlier call with the same model and rows are kept.

    folder: the files of `lm`.
    """
    how = settings.model_dump(include={"seed", "likelihood_rows", "generation"})
    asked = json.dumps([how, lm.device.type, [(row.id, row.input_ids) for row in rows]])
    kept = cache_folder(folder) / f"tune-{sha256(asked.encode()).hexdigest()[:16]}.json"
    if kept.is_file():
        return Answers(**read_json(kept))
    texts = answer(
        lm.model,
        lm.tokenizer,
        _questions(rows),
        params=settings.generation,
        seed=settings.seed,
        desc=f"{desc}, answers",
    )
    found = Answers(texts, _nats(lm, rows, settings, desc=f"{desc}, likelihoods"))
    write_json(kept, asdict(found))
    return found


def _nats(
    lm: LanguageModel, rows: Sequence[Row], settings: TuneParams, *, desc: str
) -> list[float]:
    """Nats of each right answer, given its prompt (the any-order bound)."""
    found: list[float] = []
    with Progress(total=len(rows), desc=desc, unit="answer") as bar:
        for start in range(0, len(rows), ROWS_A_CALL):
            part = rows[start : start + ROWS_A_CALL]
            items = [
                fit(
                    [],
                    row.input_ids[: row.answer_start],
                    row.input_ids[row.answer_start :],
                    max_length=lm.max_length,
                )[0]
                for row in part
            ]
            scores = score_texts(
                logprob_fn(lm.model, mask_token_id=lm.mask_token_id),
                items,
                mask_token_id=lm.mask_token_id,
                pad_token_id=lm.pad_token_id,
                max_rows=settings.likelihood_rows,
                batch_rows=max(1, BATCH_TOKENS // max(len(row.input_ids) for row in part)),
                seed=settings.seed,
                device=lm.device,
            )
            found += [-one.logprob for one in scores]
            bar.update(len(part))
    return found


def numbers(rows: Sequence[Row], answers: Answers) -> dict[str, Any]:
    """Share of the rows answered exactly, with its 95 % interval, and bits per byte of the right
    answers."""
    correct = sum(_correct(rows, answers.texts))
    low, high = wilson(correct, len(rows))
    size = sum(len(row.answer.encode()) for row in rows)
    return {
        "n": len(rows),
        "correct": correct,
        "exact": correct / len(rows),
        "low": low,
        "high": high,
        "bits_per_byte": math.fsum(answers.nats) / math.log(2) / size,
    }


def baselines(folder: Path, rows: Sequence[Row]) -> dict[str, float]:
    """What counting gets right of these rows: their most frequent answer, always, and a linear
    classifier of words that has learned the training rows of the folder."""
    answers = baseline_answers(folder, _questions(rows))["bag_of_words"]
    correct = _correct(rows, answers)
    return {
        "best_constant": constant_share(row.answer for row in rows),
        "bag_of_words": sum(correct) / len(rows),
    }


def _questions(rows: Sequence[Row]) -> list[HeldoutInstruction]:
    return [
        HeldoutInstruction(
            f"phase{row.phase}",
            row.id,
            row.source,
            row.prompt,
            row.answer,
            row.input_ids[: row.answer_start],
        )
        for row in rows
    ]


def difference(
    rows: Sequence[Row], before: Answers, after: Answers, *, seed: int
) -> dict[str, Any]:
    """After minus before on the same rows, with intervals and verdicts.

    `exact` by the exact McNemar test, `bits_per_byte` by a paired t-test over the rows (None where
    there is one row).
    """
    results = [
        Results(name, {"rows": dict(enumerate(_correct(rows, one.texts)))}, {"rows": groups})
        for groups in [{number: f"row {number}" for number in range(len(rows))}]
        for name, one in (("after", after), ("before", before))
    ]
    exact = compare(*results, protocol="held-out rows", seed=seed)[0]
    keys = ("difference", "low", "high", "p_value", "verdict")
    found: dict[str, Any] = {"exact": {key: exact[key] for key in keys}, "bits_per_byte": None}
    if len(rows) > 1:
        bits = [[nats / math.log(2) for nats in one.nats] for one in (before, after)]
        size = [len(row.answer.encode()) for row in rows]
        paired = paired_difference(*bits, size=size, seed=seed)
        found["bits_per_byte"] = {
            "difference": paired.difference,
            "low": paired.low,
            "high": paired.high,
            "p_value": paired.p_t,
            "verdict": verdict(-paired.difference, paired.p_t),  # fewer bits are better
        }
    return found


def _correct(rows: Sequence[Row], texts: Sequence[str]) -> list[bool]:
    return [
        normalized_answer(text) == normalized_answer(row.answer)
        for row, text in zip(rows, texts, strict=True)
    ]
