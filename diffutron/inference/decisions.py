"""Decisions: a probability for each of the answers that a question may have.

    p(option) = softmax over the options of log p(option | prompt) / temperature

The temperature is the one that the model's `calibration.json` has for the kind of question, else 1.

log p is the any-order bound of `diffusion.likelihood`, as the leaderboard scores choices. A tuned
model is asked in its chat format, where all options fill one canvas (protocol `chat`); a base model
reads the prompt as text, and an option follows it after a space (protocol `corrected`). Options are
not listed in the prompt, so their order tells nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from diffutron.diffusion import LogprobFn
from diffutron.diffusion.likelihood.any_order import Score, score_continuations
from diffutron.inference.language_model import LanguageModel
from diffutron.inference.results import Decision
from diffutron.modeling.encoding import (
    EncodedPair,
    begin_ids,
    encode_pairs,
    move_space,
    on_one_canvas,
)
from diffutron.modeling.tokenizer import encode_answers, encode_prompts
from diffutron.runtime.json_lines import require_unicode

KINDS = ("choice", "noul")  # in the names of transformers; a noul is answered by yes or no
YES_NO = ("Evet", "Hayır")
UNTUNED = ("backbone", "adapter", "merged")  # what `diffutron.json` calls a base model
MAX_ROWS = 128  # model rows that an option may cost; below 8 tokens it is exact


@dataclass(frozen=True, slots=True)
class Question:
    """prompt: what is asked, with its context. options: the answers that there may be."""

    prompt: str
    options: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The one of KINDS that the options make it."""
        return "noul" if set(self.options) == set(YES_NO) else "choice"

    @classmethod
    def about(cls, context: str | None, question: str, options: Sequence[str]) -> "Question":
        """The context, a line break and the question; ValueError naming what is wrong."""
        if isinstance(options, str):
            raise ValueError("options: need a list of them, not one string")
        prompt = "\n".join(part for part in (context, question) if part)
        if not prompt.strip():
            raise ValueError("question: it is empty")
        bare = [option.strip() for option in options]
        if not bare or not all(bare):
            raise ValueError("options: need at least one, and none that is empty")
        for number, option in enumerate(bare):
            if option in bare[:number]:
                raise ValueError(f"options: {option!r} is there twice")
        require_unicode([prompt, *bare])
        return cls(prompt, tuple(bare))


def is_tuned(lm: LanguageModel) -> bool:
    """Whether the model has a chat format, and is none of the base models of a build."""
    return bool(lm.tokenizer.chat_template) and lm.info.get("kind") not in UNTUNED


def encode_questions(
    lm: LanguageModel, questions: Sequence[Question], *, chat: bool | None = None
) -> list[list[EncodedPair]]:
    """The ids of each question, one pair for each option; the context holds its special tokens.

    chat: ask in the chat format; by default as `is_tuned` says. Raises ValueError for a question
    that does not fit the model, and for a chat without a format.
    """
    tokenizer = lm.tokenizer
    chat = is_tuned(lm) if chat is None else chat
    if chat and not tokenizer.chat_template:
        raise ValueError("chat=True: this model has no chat format")
    closing = encode_answers(tokenizer, [""])[0] if chat else []
    found: list[list[EncodedPair]] = []
    for number, one in enumerate(questions):
        if chat:
            prompt = tuple(encode_prompts(tokenizer, [one.prompt])[0])
            answers = encode_answers(tokenizer, one.options)
            pairs = [EncodedPair(prompt, tuple(ids), split_token=False) for ids in answers]
            pairs = on_one_canvas(pairs, closing, mask_token_id=lm.mask_token_id)
        else:
            begin = tuple(begin_ids(tokenizer))
            moved = [move_space(one.prompt, f" {option}") for option in one.options]
            pairs = [
                EncodedPair(begin + pair.context, pair.continuation, pair.split_token)
                for pair in encode_pairs(tokenizer, moved)
            ]
        for pair in pairs:
            if len(pair) > lm.max_length:
                which = f"number {number} " if len(questions) > 1 else ""
                raise ValueError(
                    f"question: {which}has {len(pair)} tokens with an option; "
                    f"the model holds {lm.max_length}"
                )
        found.append(pairs)
    return found


def score_questions(
    lm: LanguageModel,
    fn: LogprobFn,
    encoded: Sequence[Sequence[EncodedPair]],
    *,
    batch_tokens: int,
    max_rows: int = MAX_ROWS,
    seed: int = 0,
) -> list[list[Score]]:
    """The bound on log p of each option of each question, in nats.

    max_rows: model rows that an option may cost; it is exact where 2^tokens - 1 rows are allowed.
    """
    flat = [(pair.context, pair.continuation) for pairs in encoded for pair in pairs]
    longest = max((len(pair) for pairs in encoded for pair in pairs), default=1)
    scores = iter(
        score_continuations(
            fn,
            flat,
            endings=[pair.ending for pairs in encoded for pair in pairs],
            mask_token_id=lm.mask_token_id,
            pad_token_id=lm.pad_token_id,
            max_rows=max_rows,
            batch_rows=max(1, batch_tokens // longest),
            seed=seed,
            device=lm.device,
        )
    )
    return [[next(scores) for _ in pairs] for pairs in encoded]


def decision(
    lm: LanguageModel,
    question: Question,
    scores: Sequence[Score],
    *,
    temperature: float | None = None,
) -> Decision:
    """The probabilities of the options from their scores.

    temperature: above 1 they are less far from each other; by default the one of the model.
    """
    if temperature is None:
        temperature = lm.temperatures.get(question.kind, 1.0)
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature={temperature!r} must be a number above 0")
    best = max(score.logprob for score in scores)
    weights = [math.exp((score.logprob - best) / temperature) for score in scores]
    total = math.fsum(weights)
    probabilities = [weight / total for weight in weights]
    return Decision(
        choice=question.options[probabilities.index(max(probabilities))],
        probabilities=dict(zip(question.options, probabilities, strict=True)),
        scores=dict(zip(question.options, scores, strict=True)),
        temperature=temperature,
    )
