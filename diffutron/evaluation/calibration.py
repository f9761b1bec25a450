"""How sure a decision may be: a temperature for each kind of question, from held-out instructions.

Held-out rows whose possible answers are known are asked as `diffutron.decide` asks. A temperature
is fitted to their likelihood, and judged on rows that it was not fitted on (cross-fitting). The
kinds are those of `inference.decisions`: Evet or Hayır, and every other choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from diffutron.evaluation.instruction_answers import HeldoutInstruction
from diffutron.evaluation.instruction_baselines import training_rows
from diffutron.evaluation.text_quality import normalized_answer
from diffutron.inference.decisions import KINDS, YES_NO, Question, encode_questions, score_questions
from diffutron.inference.language_model import LanguageModel
from diffutron.modeling.head import logprob_fn
from diffutron.runtime.progress import Progress

MAX_OPTIONS = 10  # different answers in the training rows of a source whose answers are a choice
MIN_COUNT = 2  # training rows that each of these answers has
MIN_ROWS = 20  # fewer fit no temperature
FOLDS = 5
MAX_BINS, BIN_ROWS = 10, 20  # of the calibration error: bins of as many rows, and at least these
SPREAD = 1.0  # of log temperature before any row is seen; without it right rows alone would give 0
LOG_TEMPERATURES = (-3.0, 3.0)
DRAWS = 2000
BATCH_TOKENS = 16_384
QUESTIONS_A_CALL = 16


@dataclass(frozen=True, slots=True)
class Known:
    """A question whose right option is known. gold: its place among the options."""

    question: Question
    gold: int


def calibrate(
    lm: LanguageModel,
    heldout: Sequence[HeldoutInstruction],
    instructions: Path,
    *,
    seed: int,
    desc: str,
) -> dict[str, Any]:
    """What `data/evaluation/calibration.json` holds: the numbers of each kind that has rows.

    instructions: the folder with the training rows, which tell what can be answered.
    """
    asked = closed_questions(heldout, instructions)
    fn = logprob_fn(lm.model, mask_token_id=lm.mask_token_id)
    logprobs: list[list[float]] = []
    with Progress(total=len(asked), desc=desc, unit="question") as bar:
        for start in range(0, len(asked), QUESTIONS_A_CALL):
            some = asked[start : start + QUESTIONS_A_CALL]
            encoded = encode_questions(lm, [one.question for one in some])
            found = score_questions(lm, fn, encoded, batch_tokens=BATCH_TOKENS)
            logprobs += [[score.logprob for score in scores] for scores in found]
            bar.update(len(some))
    kinds: dict[str, Any] = {}
    for kind in KINDS:
        mine = [n for n, one in enumerate(asked) if one.question.kind == kind]
        if len(mine) >= MIN_ROWS:
            rows, gold = [logprobs[n] for n in mine], [asked[n].gold for n in mine]
            kinds[kind] = judge(rows, gold, seed=seed)
    return {"kinds": kinds}


def closed_questions(heldout: Sequence[HeldoutInstruction], folder: Path) -> list[Known]:
    """The held-out rows that are a choice.

    The options of a row are the answers of its source in the training rows of its phase, where
    there are at most MAX_OPTIONS of them; or yes and no, where the answer is one of these.
    """
    found: list[Known] = []
    for phase in sorted({one.phase for one in heldout}):
        rows = training_rows(folder / f"{phase}_train.parquet")
        mine = [one for one in heldout if one.phase == phase]
        options = {source: _answers(rows, source) for source in {one.source for one in mine}}
        known = (_known(one, options[one.source]) for one in mine)
        found += [one for one in known if one is not None]
    return found


def _answers(rows: Any, source: str) -> list[str]:
    """The answers of a source in the training rows; none where they are no choice."""
    counts = rows.filter(rows["source"] == source)["answer"].str.strip_chars().value_counts()
    answers = sorted(counts["answer"].to_list())
    is_choice = 2 <= len(answers) <= MAX_OPTIONS and counts["count"].min() >= MIN_COUNT
    return answers if is_choice and all(answers) else []


def _known(one: HeldoutInstruction, options: list[str]) -> Known | None:
    answer = one.expected.strip()
    if answer not in options:
        yes_no = {normalized_answer(word): word for word in YES_NO}
        options, answer = [*YES_NO], yes_no.get(normalized_answer(answer), "")
    if answer not in options or not one.prompt.strip():
        return None
    return Known(Question.about(None, one.prompt, options), options.index(answer))


def judge(logprobs: Sequence[Sequence[float]], gold: Sequence[int], *, seed: int) -> dict[str, Any]:
    """The temperature of all rows; likelihood and calibration error without it and with it.

    logprobs: of the options of each question, in nats. gold: the right one. What stands under
    `after` is of rows that the temperature used there was not fitted on. Where these become less
    likely, the rows are too few or need none, and the temperature is 1. floor: the mean error of as
    many rows if the probabilities after were exactly right.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(gold))
    before, after = (np.zeros((len(gold), 3)) for _ in range(2))
    for fold in range(FOLDS):
        out = order[fold::FOLDS]
        rest = np.setdiff1d(order, out)
        fitted = fit([logprobs[n] for n in rest], [gold[n] for n in rest])
        for n in out:
            before[n] = outcome(logprobs[n], gold[n], 1.0)
            after[n] = outcome(logprobs[n], gold[n], fitted)
    temperature = fit(logprobs, gold)
    if after[:, 2].sum() >= before[:, 2].sum():
        temperature, after = 1.0, before
    dealt = [
        calibration_error(after[:, 0], generator.random(len(gold)) < after[:, 0])
        for _ in range(DRAWS // 10)
    ]
    return {
        "temperature": temperature,
        "rows": len(gold),
        "acc": float(after[:, 1].mean()),
        "chance": float(np.mean([1 / len(row) for row in logprobs])),
        "before": _measures(before, seed),
        "after": _measures(after, seed),
        "floor": float(np.mean(dealt)),
    }


def fit(logprobs: Sequence[Sequence[float]], gold: Sequence[int]) -> float:
    """The likeliest temperature: log p of the right options, and a weak prior around 1."""

    def loss(log_temperature: float) -> float:
        temperature = np.exp(log_temperature)
        nll = sum(outcome(*row, temperature)[2] for row in zip(logprobs, gold, strict=True))
        return nll + (log_temperature / SPREAD) ** 2 / 2

    found: Any = minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded")
    return float(np.exp(found.x))


def outcome(logprobs: Sequence[float], gold: int, temperature: float) -> tuple[float, float, float]:
    """The probability of the likeliest option, whether it is right, and -log p(right) in nats."""
    values = np.asarray(logprobs, float) / temperature
    values = values - logsumexp(values)
    best = int(values.argmax())
    return float(np.exp(values[best])), float(best == gold), float(-values[gold])


def calibration_error(sure: np.ndarray, right: np.ndarray) -> float:
    """The expected calibration error: mean |share right - mean probability| over equal bins.

    sure, right: of each row. Guo et al. (arXiv 1706.04599), eq. 3, with bins of as many rows.
    """
    order = np.argsort(sure, kind="stable")
    parts = np.array_split(order, min(MAX_BINS, max(1, len(order) // BIN_ROWS)))
    gaps = [len(part) * abs(right[part].mean() - sure[part].mean()) for part in parts]
    return float(sum(gaps) / len(order))


def _measures(rows: np.ndarray, seed: int) -> dict[str, float]:
    """nll: nats per question. low, high: 95 % percentile bootstrap over rows."""
    generator, drawn = np.random.default_rng(seed), []
    for _ in range(DRAWS):
        some = rows[generator.integers(0, len(rows), len(rows))]
        drawn.append(calibration_error(some[:, 0], some[:, 1]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {
        "nll": float(rows[:, 2].mean()),
        "ece": calibration_error(rows[:, 0], rows[:, 1]),
        "low": float(low),
        "high": float(high),
    }
