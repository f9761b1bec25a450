"""Is a tuned model still an encoder? Its frozen embeddings, and what a linear model learns of them.

A text is the mean of the last hidden states of its tokens, and logistic regression learns from the
training split of a task, as the bag of words does. News: the embedding of the text. Similarity:
the distance and the product of two sentences, coordinate by coordinate (Conneau and Kiela 2018,
arXiv 1803.05449). Exams: the question with each choice, right or wrong.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from diffutron.config.params import EvaluateParams
from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet, training_set
from diffutron.data.sources.sources import local_folder
from diffutron.evaluation.cetvel.asked import EvalTask
from diffutron.evaluation.cetvel.prompts import exams_target, news_target, sts_target
from diffutron.evaluation.cetvel.protocols import PROTOCOLS
from diffutron.evaluation.scorers import bag_of_words
from diffutron.evaluation.statistics.intervals import paired_difference
from diffutron.modeling.head import unwrap_masked_lm

Doc = dict[str, Any]
Vectors = np.ndarray
SEEDS = 5
GRID = (0.01, 0.1, 1.0, 10.0)  # inverse strength of the regularization
HELD_OUT = 0.2  # of the training rows, on which the value of the grid is chosen
MAX_TOKENS = 512  # of a text; the rest is not read
BATCH_TOKENS = 8192  # of a padded batch
MIN_OTHERS = 10  # training examples that are not of the commonest class
BASE = "base"


@dataclass(frozen=True)
class Form:
    """How a row becomes examples: `texts` [T] are embedded, `features` turns their vectors [T, H]
    into examples [E, F], `labels` gives the class of each [E]. choices: the examples are the
    choices of a question, and class 1 is the right one."""

    texts: Callable[[Doc], list[str]]
    features: Callable[[Vectors], Vectors]
    labels: Callable[[Doc], list[int]]
    choices: bool = False


def _two_sentences(vectors: Vectors) -> Vectors:
    first, second = vectors
    return np.concatenate([abs(first - second), first * second])[None]


def _with_choices(doc: Doc) -> list[str]:
    question = doc["question"]
    return [f"{question['stem']} {choice}" for choice in question["choices"]["text"]]


def _right_or_wrong(doc: Doc) -> list[int]:
    return [int(n == exams_target(doc)) for n in range(len(doc["question"]["choices"]["text"]))]


FORMS = {
    "news_cat": Form(lambda d: [d["text"]], lambda v: v, lambda d: [news_target(d)]),
    "exams_tr": Form(_with_choices, lambda v: v, _right_or_wrong, choices=True),
    "sts_tr": Form(
        lambda d: [d["sentence1"], d["sentence2"]], _two_sentences, lambda d: [sts_target(d)]
    ),
}


def read_probes(
    section: EvaluateParams, sets: Iterable[EvaluationSet], *, seed: int
) -> tuple[list[EvalTask], dict[str, str]]:
    """The tasks that can be probed, with all items and at most `evaluate.probe_rows` rows of
    their training split, and why each other one of `FORMS` is not."""
    named = {one.task: one for one in sets if one.stand_in is None}
    tasks, reasons = [], {}
    for name in FORMS:
        if section.probe_rows == 0:
            reasons[name] = "evaluate.probe_rows is 0"
        elif name not in named:
            reasons[name] = "the set is not evaluated"
        elif section.source != "local":
            where = "built-in sample has none" if section.source == "sample" else "hub is not read"
            reasons[name] = f"no training split: the {where}"
        else:
            folder = local_folder("evaluate")[0].parent
            training = training_set(name, source="local", folder=folder)
            if training is None:
                reasons[name] = "no training split in the local folder"
                continue
            chosen = training.draw(section.probe_rows, seed=seed)
            if chosen is not None:
                training = replace(training, rows=[training.rows[n] for n in chosen])
            if _others(FORMS[name], training.rows) < MIN_OTHERS:
                reasons[name] = f"{len(training.rows)} training rows are too few"
                continue
            tasks.append(
                EvalTask.draw(
                    named[name], PROTOCOLS["corrected"], limit=None, seed=seed, training=training
                )
            )
    return tasks, reasons


def _others(form: Form, rows: Iterable[Doc]) -> int:
    """Examples that are not of the commonest class."""
    counts = Counter(label for doc in rows for label in form.labels(doc))
    return counts.total() - max(counts.values(), default=0)


@torch.inference_mode()
def embed(model: Any, tokenizer: Any, texts: Sequence[str]) -> Vectors:
    """The mean of the last hidden states of each text, [T, H] in float32; equal texts are read
    once, in batches of like length."""
    encoder = unwrap_masked_lm(model).model
    longest = min(MAX_TOKENS, int(encoder.config.max_position_embeddings))
    different = list(dict.fromkeys(texts))
    ids = tokenizer(different, truncation=True, max_length=longest)["input_ids"]
    order = sorted(range(len(ids)), key=lambda n: len(ids[n]))
    found: dict[str, Vectors] = {}
    while order:
        size = max(1, BATCH_TOKENS // max(1, len(ids[order[-1]])))
        batch, order = order[-size:], order[:-size]
        rows = [torch.tensor(ids[n], device=model.device) for n in batch]
        padded = pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id)
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        states = encoder(padded, attention_mask=mask).last_hidden_state
        states = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        for n, vector in zip(batch, states.float().cpu().numpy(), strict=True):
            found[different[n]] = vector
    return np.stack([found[text] for text in texts])


def probe(model: Any, tokenizer: Any, task: EvalTask, *, seed: int) -> np.ndarray:
    """Which items each of `SEEDS` probes answers right, [SEEDS, items] of 0 and 1.

    A seed decides which training rows are held out to choose a value of `GRID`.
    """
    form = FORMS[task.dataset.task]
    training = task.training.rows if task.training else []
    asked = [one.doc for one in task.questions]
    texts = [form.texts(doc) for doc in [*training, *asked]]
    vectors = embed(model, tokenizer, [text for some in texts for text in some])
    cuts = np.cumsum([len(some) for some in texts])[:-1]
    examples = [form.features(each) for each in np.split(vectors, cuts)]
    known = [*zip(examples, map(form.labels, training), strict=False)]
    new, gold = examples[len(training) :], [one.gold for one in task.questions]
    return np.stack([_one_probe(form, known, new, gold, seed=seed + n) for n in range(SEEDS)])


def _one_probe(
    form: Form,
    known: Sequence[tuple[Vectors, list[int]]],
    new: Sequence[Vectors],
    gold: Sequence[int],
    *,
    seed: int,
) -> np.ndarray:
    """Learn from most rows, choose by the others, answer the new ones: right or not, [items]."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    order = np.random.default_rng(seed).permutation(len(known))
    held = max(1, round(HELD_OUT * len(known)))
    chosen, rest = [known[n] for n in order[:held]], [known[n] for n in order[held:]]
    features = np.concatenate([one for one, _ in rest])
    labels = [label for _, some in rest for label in some]
    held_gold = [some.index(1) if form.choices else some[0] for _, some in chosen]
    best = (-1.0, np.zeros(len(new)))
    for strength in GRID:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
        model.fit(features, labels)
        right = _right(form, model, [one for one, _ in chosen], held_gold).mean()
        if right > best[0]:
            best = (right, _right(form, model, new, gold))
    return best[1]


def _right(form: Form, model: Any, examples: Sequence[Vectors], gold: Sequence[int]) -> np.ndarray:
    if not form.choices:
        return (model.predict(np.concatenate(examples)) == np.asarray(gold)).astype(float)
    values = model.decision_function(np.concatenate(examples))
    parts = np.split(values, np.cumsum([len(one) for one in examples])[:-1])
    return np.array([part.argmax() == one for part, one in zip(parts, gold, strict=True)], float)


def probe_numbers(
    tasks: Sequence[EvalTask],
    reasons: Mapping[str, str],
    right: Mapping[str, Mapping[str, np.ndarray]],
    *,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """The numbers of each task of `FORMS`, for `metrics/evaluate.json`.

    acc: mean over seeds, with the 95 % bootstrap interval over items; against_base: paired over
    items. A task that was not probed has `models` null and a `reason`.

    Args:
        right: By model and task, as `probe` gives it.
    """
    numbers: dict[str, dict[str, Any]] = {
        name: {"models": None, "reason": reason} for name, reason in reasons.items()
    }
    for task in tasks:
        name, training = task.dataset.task, task.training
        rows = training.rows if training else []
        words = bag_of_words.answer(name, rows, task.questions)
        by_words = [
            max(range(len(one.choices)), key=answer.logprobs.__getitem__) == one.gold
            for one, answer in zip(task.questions, words, strict=True)
        ]
        numbers[name] = {
            "n": len(task.questions),
            "training_rows": len(rows),
            "seeds": SEEDS,
            "chance": float(np.mean([1 / len(one.choices) for one in task.questions])),
            "bag_of_words": float(np.mean(by_words)),
            "models": {
                model: _scores(found[name], right[BASE][name], seed=seed)
                for model, found in right.items()
            },
            "reason": None,
        }
    return numbers


def _scores(right: np.ndarray, base: np.ndarray, *, seed: int) -> dict[str, Any]:
    items, of_base = right.mean(0), base.mean(0)
    mean = paired_difference(np.zeros_like(items).tolist(), items.tolist(), seed=seed)
    against = paired_difference(of_base.tolist(), items.tolist(), seed=seed)
    return {
        "acc": float(items.mean()),
        "low": mean.low,
        "high": mean.high,
        "acc_by_seed": right.mean(1).tolist(),
        "against_base": {
            "difference": against.difference,
            "low": against.low,
            "high": against.high,
        },
    }
