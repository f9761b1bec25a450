"""Likelihoods of a masked diffusion model: the any-order bound and what follows from it.

    log p(x | c) >= sum over k = 1..L of (1/k) x mean over subsets S of size k of
                    sum over i in S of log p(x_i | c, x without S)

This is the discrete form of the NELBO (LLaDA, arXiv 2502.09992, eq. 6 and appendix A; Ou et al.,
arXiv 2406.03736, eq. 3.3): for each masking order the chain rule gives log p, and the bound is
the mean over all orders. It is exact by enumeration for short continuations and a stratified
unbiased estimate for longer ones (`subsets`). It is a bound on, not the value of, the
log-likelihood of a sampler. All values are in nats.

Token ids in, numbers out. A begin token, where the model wants one, is part of the context.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffutron.diffusion import LogprobFn
from diffutron.diffusion.likelihood.masked_rows import Item, MaskedRows
from diffutron.diffusion.likelihood.subsets import Plan, plan_subsets
from diffutron.diffusion.process.noise import hash_keys


@dataclass(frozen=True, slots=True)
class Score:
    """A bound on log p(continuation | context) in nats.

    stderr: standard error of the estimate, 0 if `exact` (every subset was evaluated). Its square is
    an unbiased estimate of the variance over seeds. The plain mean of many stderr lies below the
    standard deviation over seeds, the root of their mean square does not. num_rows: model rows that
    this value needs, whether or not other items share them.
    """

    logprob: float
    stderr: float
    num_tokens: int
    num_rows: int
    exact: bool


def add_scores(scores: Iterable[Score]) -> Score:
    """The score of a text from those of its consecutive windows (the chain rule).

    Their draws must be independent.
    """
    parts = list(scores)
    return Score(
        logprob=math.fsum(s.logprob for s in parts),
        stderr=math.sqrt(math.fsum(s.stderr**2 for s in parts)),
        num_tokens=sum(s.num_tokens for s in parts),
        num_rows=sum(s.num_rows for s in parts),
        exact=all(s.exact for s in parts),
    )


def score_continuations(
    logprob_fn: LogprobFn,
    items: Sequence[Item],
    *,
    mask_token_id: int,
    pad_token_id: int,
    max_rows: int = 128,
    batch_rows: int = 64,
    seed: int = 0,
    shared_draws: bool = True,
    turns: Sequence[int] | None = None,
    endings: Sequence[Sequence[int]] | None = None,
    device: torch.device | str = "cpu",
) -> list[Score]:
    """The any-order bound on log p(continuation | context) of each item, in the order given.

    max_rows: model rows allowed for each item; continuations of L tokens with 2^L - 1 <= max_rows
    are exact. batch_rows: rows run at a time, without influence on the values beyond rounding.
    Items that share a context share the rows that are equal: all one-token choices of a question
    together need one. Items of one context with different `turns` have independent draws. endings:
    what stands behind each continuation, read as it is and not scored; masks are allowed. An empty
    continuation scores 0. Raises ValueError for a mask token in a continuation (it has no
    probability) and for `max_rows` < 2 where a sample is needed.
    """
    if max_rows < 1 or batch_rows < 1:
        raise ValueError(f"max_rows={max_rows}, batch_rows={batch_rows}: both must be at least 1")
    for number, (_, continuation) in enumerate(items):
        if mask_token_id in continuation:
            raise ValueError(
                f"items: continuation {number} holds the mask token, which has no probability"
            )
    scores: list[Score | None] = [None] * len(items)
    for group in _groups(items, most_rows=8 * batch_rows, max_rows=max_rows):
        rows = MaskedRows(mask_token_id)
        plans: list[tuple[int, Plan, Tensor, slice]] = []
        for number in group:
            context, continuation = items[number]
            if not continuation:
                scores[number] = Score(0.0, 0.0, 0, 0, True)
                continue
            own = () if shared_draws else continuation
            key = _fold(seed, context, own, turns[number] if turns else 0)
            plan = plan_subsets(len(continuation), max_rows=max_rows, seed=key)
            ending = endings[number] if endings else ()
            plans.append((number, plan, *rows.add(context, continuation, plan.masked, ending)))
        logprobs = rows.logprobs(
            logprob_fn, pad_token_id=pad_token_id, batch_rows=batch_rows, device=device
        )
        for number, plan, owner, part in plans:
            sums = torch.zeros(len(plan.masked), dtype=torch.float64)
            logprob, stderr = plan.estimate(sums.index_add(0, owner, logprobs[part]))
            length = len(items[number][1])
            scores[number] = Score(logprob, stderr, length, len(plan.masked), plan.exact)
    return [score for score in scores if score is not None]


def _fold(seed: int, context: Sequence[int], continuation: Sequence[int], turn: int) -> int:
    """A seed for an item from its content and its turn.

    In float32 it is the same wherever it stands and whatever it is batched with.
    """
    ids = torch.tensor([*context, -1, *continuation, *[-1] * turn])
    return int(hash_keys(seed, torch.arange(len(ids)), ids).sum())


def _groups(items: Sequence[Item], *, most_rows: int, max_rows: int) -> Iterable[list[int]]:
    """Item numbers, those of one context together, short ones first, in groups of about
    `most_rows` rows.
    """
    by_context: dict[tuple[int, ...], list[int]] = {}
    for number, (context, _) in enumerate(items):
        by_context.setdefault(tuple(context), []).append(number)
    length = {c: len(c) + max(len(items[n][1]) for n in ns) for c, ns in by_context.items()}
    group: list[int] = []
    num_rows = 0
    for context in sorted(by_context, key=lambda c: length[c]):
        group += by_context[context]
        num_rows += sum(min(max_rows, 2 ** len(items[n][1]) - 1) for n in by_context[context])
        if num_rows >= most_rows:
            yield group
            group, num_rows = [], 0
    yield group


def score_texts(
    fn: LogprobFn,
    texts: Sequence[Sequence[Item]],
    *,
    endings: Sequence[Sequence[int]] | None = None,
    **options: Any,
) -> list[Score]:
    """The score of each text, given as its consecutive windows, by `score_continuations`.

    endings: of each text; it stands behind its last window.

    A window whose context comes again in its text takes the next turn. Equal windows with equal
    draws would have equal errors, and those do not add up as independent ones do.
    """
    flat = [item for items in texts for item in items]
    contexts = [[context for context, _ in items] for items in texts]
    turns = [some[:n].count(context) for some in contexts for n, context in enumerate(some)]
    behind = [
        ending if number == len(items) - 1 else ()
        for items, ending in zip(texts, endings or [()] * len(texts), strict=True)
        for number in range(len(items))
    ]
    scores = iter(score_continuations(fn, flat, turns=turns, endings=behind, **options))
    return [add_scores(next(scores) for _ in items) for items in texts]


def windows(begin: Sequence[int], ids: Sequence[int], *, max_length: int) -> list[Item]:
    """Cuts a text into (context, continuation) items of at most `max_length` tokens each.

    Each window holds `begin`, the tokens before it (up to half the room) and its own: their
    scores add up to one of the text by the chain rule.
    """
    room = max_length - len(begin)
    if room < 1:
        raise ValueError(f"max_length={max_length} leaves no room after {len(begin)} begin tokens")
    items: list[Item] = [(list(begin), list(ids[:room]))]
    past = room // 2
    for start in range(room, len(ids), room - past):
        context = [*begin, *ids[start - past : start]]
        items.append((context, list(ids[start : start + room - past])))
    return items


def fit(
    begin: Sequence[int], context: Sequence[int], continuation: Sequence[int], *, max_length: int
) -> tuple[list[Item], int]:
    """The pair as items of at most `max_length` tokens, and the number of context tokens dropped.

    A context too long loses its beginning; a continuation too long stands alone, in `windows`.
    """
    room = max_length - len(begin) - len(continuation)
    if room < 0:
        return windows(begin, continuation, max_length=max_length), len(context)
    num_dropped = max(0, len(context) - room)
    return [([*begin, *context[num_dropped:]], continuation)], num_dropped


def nelbo(
    logprob_fn: LogprobFn,
    texts: Sequence[Sequence[int]],
    *,
    begin: Sequence[int],
    max_length: int,
    mask_token_id: int,
    pad_token_id: int,
    num_samples: int = 32,
    batch_rows: int = 64,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> list[Score]:
    """The any-order bound on the log-likelihood of whole texts; -logprob is the NELBO in nats.

    A text longer than `max_length` goes in `windows`, each with `num_samples` rows: with fixed
    draws for a seed, so that two models, or one at two times, are compared on the same noise.
    Also the rolling likelihood of the evaluation harness. An empty text scores 0.
    """
    return score_texts(
        logprob_fn,
        [windows(begin, ids, max_length=max_length) for ids in texts],
        mask_token_id=mask_token_id,
        pad_token_id=pad_token_id,
        max_rows=num_samples,
        batch_rows=batch_rows,
        seed=seed,
        shared_draws=False,
        device=device,
    )
