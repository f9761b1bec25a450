"""What a user imports: `load`, `generate`, `infill`, `decide`, `score`, `nelbo`.

Needs torch and transformers (and peft for adapters) alone. Strings in, plain result objects out;
the mathematics and its sources are in `diffutron.diffusion`. Bad input is a ValueError that names
the argument.

    lm = diffutron.load("models/phase2")
    diffutron.generate(lm, ["Türkiye'nin başkenti neresidir?"], max_new_tokens=32)[0].text
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import Any

from diffutron.diffusion.likelihood import any_order as likelihood
from diffutron.diffusion.sampling.canvas import Denoised, Event
from diffutron.diffusion.sampling.denoise import denoise
from diffutron.diffusion.sampling.settings import Settings, make_settings
from diffutron.inference import decisions
from diffutron.inference import prompts as prompting
from diffutron.inference.bounds import bound_texts, encode_for_bound
from diffutron.inference.generation import plan_generation
from diffutron.inference.language_model import LanguageModel
from diffutron.inference.loading import load
from diffutron.inference.results import Bound, Committed, Decision, Generated, Scored, decode_events
from diffutron.modeling.encoding import begin_ids, encode_pairs, end_ids
from diffutron.modeling.head import logits_fn, logprob_fn

__all__ = ["decide", "generate", "infill", "load", "nelbo", "score"]

BATCH_TOKENS = 16_384  # tokens that run through the model at a time


def generate(
    lm: LanguageModel,
    prompts: Sequence[prompting.Prompt],
    *,
    max_new_tokens: int | None = None,
    num_steps: int | None = None,
    block_length: int | None = None,
    temperature: float | None = None,
    seed: int = 0,
    chat: bool = True,
    batch_size: int | None = None,
    watch: Callable[[int, list[Committed]], None] | None = None,
    **settings: Any,
) -> list[Generated]:
    """An answer to each prompt, in order; in float32 the same whatever it is batched with.

    prompts: strings, chats (lists of {"role", "content"}) or lists of token ids, which are taken
    as they are. chat: apply the tokenizer's chat template if it has one, else the prompt is text
    to be continued. Settings not given come from the model's `diffutron.json`, then: 64 new
    tokens, one step a token, blocks of at most 32, temperature 0. block_length must divide
    max_new_tokens. settings: any other field of `Settings` (strategy, top_k, top_p, threshold,
    remask, guidance, repetition_penalty, no_repeat_ngram, suppress).
    `watch(row, events)` is called after each model pass.

    Raises ValueError naming the argument: empty prompts or ones that do not fit, ids outside the
    vocabulary, steps below 1, blocks that do not divide, a model that returns NaN.
    """
    given = {
        "max_new_tokens": max_new_tokens,
        "num_steps": num_steps,
        "block_length": block_length,
        "temperature": temperature,
        **settings,
    }
    _check_list("prompts", prompts)
    plan = plan_generation(lm, prompts, given, chat=chat)

    def watch_events(row: int, events: list[Event]) -> None:
        if watch is not None:
            watch(row, decode_events(lm.tokenizer, events, first=len(plan.prompt_ids[row])))

    found = _denoise(
        lm,
        plan.canvases,
        plan.settings,
        seed=seed,
        batch_size=batch_size,
        end_token_ids=plan.end_token_ids,
        find_end=plan.find_end,
        watch=None if watch is None else watch_events,
    )
    results: list[Generated] = []
    size = plan.settings.block_length
    for prompt, row, ids in zip(prompts, found, plan.prompt_ids, strict=True):
        text = prompting.answer_text(lm.tokenizer, row.token_ids, chat=chat)
        trace = lm.trace(prompt, text, row.events, first=len(ids), block_length=size)
        results.append(Generated(text, row.token_ids, trace, row.num_steps))
    return results


def infill(
    lm: LanguageModel,
    texts: Sequence[str],
    *,
    num_steps: int | None = None,
    block_length: int | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    batch_size: int | None = None,
    **settings: Any,
) -> list[Generated]:
    """Each text with its masks filled; all else stands as given (`.text` is the whole text).

    `[MASK]` or the tokenizer's own mask token stands for one token, together with the space
    before it. num_steps: by default one for each mask. settings: as for `generate`. Raises
    ValueError naming the argument.
    """
    prompting.check_texts("texts", texts)
    begin, end = begin_ids(lm.tokenizer), end_ids(lm.tokenizer)
    filled = prompting.encode_masked(lm.tokenizer, texts)
    canvases = [[*begin, *ids, *end] for ids in filled]
    for number, ids in enumerate(filled):
        if lm.mask_token_id not in ids:
            raise ValueError(f"texts: number {number} holds no {prompting.MASK} to fill")
    lm.check_ids("texts", canvases)
    most = max((ids.count(lm.mask_token_id) for ids in filled), default=1)
    chosen = make_settings(
        {
            "num_steps": most if num_steps is None else num_steps,
            "block_length": block_length,
            "temperature": temperature,
            "suppress": lm.special_ids,
            **settings,
        }
    )
    found = _denoise(lm, canvases, chosen, seed=seed, batch_size=batch_size)
    results: list[Generated] = []
    for given, row in zip(texts, found, strict=True):
        text = lm.tokenizer.decode(row.canvas[len(begin) : len(row.canvas) - len(end)])
        trace = lm.trace(given, text, row.events, first=len(begin), block_length=block_length)
        results.append(Generated(text, row.token_ids, trace, row.num_steps))
    return results


def score(
    lm: LanguageModel,
    pairs: Sequence[tuple[str, str]],
    *,
    max_rows: int = 128,
    seed: int = 0,
    batch_size: int | None = None,
) -> list[Scored]:
    """The any-order bound on log p(continuation | context) of each pair of strings, taken as they
    are.

    No chat template and no space is added. The canvas is the begin token, if the tokenizer adds
    one, context and continuation, and nothing after. Exact while the 2^L - 1 subsets of L
    continuation tokens fit `max_rows`, else a stratified unbiased estimate. Pairs that share a
    context share rows. A context too long for the model loses its beginning, a continuation too
    long is scored in windows. Source: LLaDA (arXiv 2502.09992), eq. 6 in its discrete form; see
    `diffusion.likelihood`.
    """
    _check_list("pairs", pairs)
    for number, pair in enumerate(pairs):
        prompting.check_texts(f"pairs: number {number}", pair)
        if len(pair) != 2:
            raise ValueError(f"pairs: number {number} has {len(pair)} texts; need two")
    encoded = encode_pairs(lm.tokenizer, pairs)
    begin = begin_ids(lm.tokenizer)
    cut = [
        likelihood.fit(begin, pair.context, pair.continuation, max_length=lm.max_length)
        for pair in encoded
    ]
    flat = [item for items, _ in cut for item in items]
    lm.check_ids("pairs", [[*context, *continuation] for context, continuation in flat])
    totals = likelihood.score_texts(
        logprob_fn(lm.model, mask_token_id=lm.mask_token_id),
        [items for items, _ in cut],
        mask_token_id=lm.mask_token_id,
        pad_token_id=lm.pad_token_id,
        max_rows=max_rows,
        batch_rows=batch_size or _batch_rows([[*c, *x] for c, x in flat]),
        seed=seed,
        device=lm.device,
    )
    return [
        Scored(*astuple(total), split_token=pair.split_token, num_dropped=num_dropped)
        for total, pair, (_, num_dropped) in zip(totals, encoded, cut, strict=True)
    ]


def decide(
    lm: LanguageModel,
    question: str,
    options: Sequence[str],
    context: str | None = None,
    *,
    temperature: float | None = None,
    chat: bool | None = None,
    max_rows: int = decisions.MAX_ROWS,
    seed: int = 0,
) -> Decision:
    """A probability for each option, and the likeliest one; no text is generated.

    The prompt is `context`, a line break and `question`. The probabilities are the softmax of the
    options' log-likelihoods divided by `temperature`, whatever their order; by default the one that
    the model was calibrated with, else 1. chat: ask in the chat
    format, where every option closes as an answer does; by default that of a tuned model. Without
    it an option is scored as it follows the prompt after a space: `score` of (prompt, " option").
    max_rows: as for `score`. Raises ValueError naming the argument.
    """
    if not question.strip():
        raise ValueError("question: it is empty")
    asked = decisions.Question.about(context, question, options)
    encoded = decisions.encode_questions(lm, [asked], chat=chat)
    (scores,) = decisions.score_questions(
        lm,
        logprob_fn(lm.model, mask_token_id=lm.mask_token_id),
        encoded,
        batch_tokens=BATCH_TOKENS,
        max_rows=max_rows,
        seed=seed,
    )
    return decisions.decision(lm, asked, scores, temperature=temperature)


def nelbo(
    lm: LanguageModel,
    texts: Sequence[str],
    *,
    num_samples: int = 32,
    seed: int = 0,
    max_length: int | None = None,
    batch_size: int | None = None,
) -> list[Bound]:
    """The negative ELBO of each text: begin token, text, and the end token if the model was
    trained with one.

    num_samples: model rows a window; exact if they hold all subsets. max_length: tokens a window
    (by default 512, or what the model holds); longer texts go in windows that see the text before
    them. MDLM (arXiv 2406.07524), eq. 10, in its discrete form. Raises ValueError for an empty
    text.
    """
    prompting.check_texts("texts", texts)
    return bound_texts(
        lm,
        logprob_fn(lm.model, mask_token_id=lm.mask_token_id),
        encode_for_bound(lm, texts),
        num_samples=num_samples,
        batch_tokens=BATCH_TOKENS,
        seed=seed,
        max_length=max_length,
        batch_rows=batch_size,
    )


def _denoise(
    lm: LanguageModel,
    canvases: list[list[int]],
    settings: Settings,
    *,
    seed: int,
    batch_size: int | None,
    **more: Any,
) -> list[Denoised]:
    return denoise(
        logits_fn(lm.model, mask_token_id=lm.mask_token_id),
        canvases,
        mask_token_id=lm.mask_token_id,
        pad_token_id=lm.pad_token_id,
        settings=settings,
        seed=seed,
        batch_rows=batch_size or _batch_rows(canvases),
        trace=True,
        device=lm.device,
        **more,
    )


def _check_list(name: str, values: object) -> None:
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        what = "one string" if isinstance(values, str) else type(values).__name__
        raise ValueError(f"{name}: need a list of them, not {what}")


def _batch_rows(rows: Sequence[Sequence[int]]) -> int:
    return max(1, BATCH_TOKENS // max((len(row) for row in rows), default=1))
