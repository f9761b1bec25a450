"""What is decided at a masked position: the token, and how sure the model is of it.

Shapes: N positions, V vocabulary, R rows of the batch, L their length. Functions ending in `_`
change the logits.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Measure = Literal["low_confidence", "margin", "entropy"]
MEASURES: tuple[Measure, ...] = ("low_confidence", "margin", "entropy")
_BLOCK = 512  # the vocabulary is summed in blocks of this size


def guide(conditional: Tensor, unconditional: Tensor, *, scale: float) -> Tensor:
    """Classifier-free guidance.

    (1 + scale) x conditional - scale x unconditional (LLaDA, eq. 16).
    """
    return torch.lerp(unconditional, conditional, 1 + scale)


def penalize_(logits: Tensor, generated: Tensor, *, penalty: float) -> None:
    """Repetition penalty (CTRL, arXiv 1909.05858, section 4.1) on the tokens `generated` [N, G]
    in each row.

    Positive logits are divided by the penalty, negative ones multiplied. Entries of `generated`
    that are no token yet hold the mask token, whose logit is -inf either way.
    """
    values = logits.gather(1, generated)
    logits.scatter_(1, generated, torch.where(values > 0, values / penalty, values * penalty))


def keep_top_(logits: Tensor, *, top_k: int | None, top_p: float) -> None:
    """Sets to -inf all but the `top_k` best, then all outside the smallest set of mass `top_p`."""
    if top_k is not None and top_k < logits.shape[1]:
        best = logits.topk(top_k, dim=1).indices
        logits.masked_fill_(
            torch.ones_like(logits, dtype=torch.bool).scatter_(1, best, False), -math.inf
        )
    if top_p < 1:
        ordered, tokens = logits.sort(dim=1, descending=True, stable=True)
        probs = ordered.softmax(dim=1)
        outside = probs.cumsum(dim=1) - probs >= top_p  # the best token always stays
        logits.masked_fill_(torch.zeros_like(outside).scatter_(1, tokens, outside), -math.inf)


def draw_tokens(logits: Tensor, u: Tensor) -> Tensor:
    """Tokens [N] distributed as softmax(logits), by inversion of one float64 uniform [N] each.

    One number a position instead of one a token of the vocabulary. The distribution function is
    summed in float64 over blocks, so that its rounding does not grow with the vocabulary.
    """
    size = logits.shape[1]
    probs = (logits - logits.amax(dim=1, keepdim=True)).exp_()
    probs = torch.nn.functional.pad(probs, (0, -size % _BLOCK)) if size % _BLOCK else probs
    blocks = probs.view(len(probs), -1, _BLOCK)
    cdf = blocks.sum(dim=2, dtype=torch.float64).cumsum(dim=1)
    target = _below(u[:, None] * cdf[:, -1:], cdf[:, -1:])
    block = torch.searchsorted(cdf, target, right=True)
    before = torch.where(block > 0, cdf.gather(1, (block - 1).clamp_min(0)), 0.0)
    inside = blocks.gather(1, block[:, :, None].expand(-1, 1, _BLOCK)).squeeze(1)
    inner = inside.to(torch.float64).cumsum(dim=1)
    rest = _below(target - before, inner[:, -1:])
    return (block * _BLOCK + torch.searchsorted(inner, rest, right=True)).squeeze(1)


def _below(value: Tensor, limit: Tensor) -> Tensor:
    """value, or the next number under the limit where rounding has reached it."""
    return torch.minimum(value, torch.nextafter(limit, torch.zeros_like(limit)))


def confidence(logits: Tensor, tokens: Tensor, *, measure: Measure) -> Tensor:
    """Confidence [N] in `tokens` [N] under logits [N, V]; higher is surer.

    low_confidence: the token's probability (LLaDA, arXiv 2502.09992: the low ones stay masked).
    margin: the probability of the best token less that of the second (Kim et al., arXiv
    2502.06768). entropy: the negative entropy in nats (Dream, arXiv 2508.15487). The last two
    describe the position, whatever token is taken.
    """
    normalizer = logits.logsumexp(dim=1)
    if measure == "low_confidence":
        return (logits.gather(1, tokens[:, None]).squeeze(1) - normalizer).exp()
    if measure == "margin":
        best = logits.topk(min(2, logits.shape[1]), dim=1).values
        best = (best - normalizer[:, None]).exp()
        return best[:, 0] - best[:, 1:].sum(dim=1)
    probs = (logits - normalizer[:, None]).exp()
    return torch.xlogy(probs, probs).sum(dim=1)


def ban_ngrams_(
    logits: Tensor, ids: Tensor, generated: Tensor, asked: Tensor, *, size: int
) -> None:
    """Sets to -inf every token that would repeat an n-gram of `size` generated tokens.

    ids, generated, asked: [R, L], the canvases, where tokens have been generated, and the N
    positions of the logits, row-major. Only windows that lie wholly in generated text count, each
    with one open position.
    """
    banned_rows: list[int] = []
    banned_tokens: list[int] = []
    number = 0
    for row, known, wanted in zip(ids, generated, asked, strict=True):
        ngrams = NGrams(row, known, size=size)
        for position in wanted.nonzero().flatten():
            tokens = ngrams.completions(int(position))
            banned_rows += [number] * len(tokens)
            banned_tokens += tokens
            number += 1
    logits[banned_rows, banned_tokens] = -math.inf
    stuck = (logits == -math.inf).all(dim=1)
    if bool(stuck.any()):
        raise ValueError(f"no_repeat_ngram={size} bans every token of the vocabulary; raise it")


class NGrams:
    """The n-grams of a canvas's generated text, which grows token by token."""

    def __init__(self, ids: Tensor, generated: Tensor, *, size: int) -> None:
        self.size = size
        self.tokens = {int(p): int(ids[p]) for p in generated.nonzero().flatten()}
        # offset of the open place, the other tokens -> tokens that complete a known n-gram there
        self.known: defaultdict[tuple[int, tuple[int, ...]], set[int]] = defaultdict(set)
        for start in self.tokens:
            self._learn(start)

    def completions(self, position: int) -> list[int]:
        """Tokens that would repeat an n-gram at this position."""
        found: set[int] = set()
        around: list[tuple[int, tuple[int, ...]]] = []
        for offset in range(self.size):
            others = self._others(position - offset, offset)
            if others is not None:
                found |= self.known[offset, others]
                around.append((offset, others))
        # one token may also make two equal windows at once, as in a a ? a
        for token in {token for _, others in around for token in others}:
            made = [(*others[:offset], token, *others[offset:]) for offset, others in around]
            if len(set(made)) < len(made):
                found.add(token)
        return sorted(found)

    def commit(self, position: int, token: int) -> bool:
        """Places the token unless it repeats an n-gram; whether it was placed."""
        if token in self.completions(position):
            return False
        self.tokens[position] = token
        for start in range(position - self.size + 1, position + 1):
            self._learn(start)
        return True

    def _learn(self, start: int) -> None:
        for offset in range(self.size):
            others = self._others(start, offset)
            if others is not None and start + offset in self.tokens:
                self.known[offset, others].add(self.tokens[start + offset])

    def _others(self, start: int, offset: int) -> tuple[int, ...] | None:
        """The window's tokens but the one at `offset`; None unless all of them are generated."""
        places = [start + j for j in range(self.size) if j != offset]
        if any(place not in self.tokens for place in places):
            return None
        return tuple(self.tokens[place] for place in places)


def without_repeats(
    chosen: Tensor,
    ids: Tensor,
    generated: Tensor,
    order: Sequence[tuple[int, int, int]],
    *,
    size: int,
) -> Tensor:
    """`chosen` [R, L] less the commits that would repeat an n-gram together with an earlier one
    of this step.

    order: (row, position, token) of the commits, the surest first; the first of a row always stays.
    """
    kept = chosen.clone()
    rows: dict[int, NGrams] = {}
    for row, position, token in order:
        if row not in rows:
            rows[row] = NGrams(ids[row], generated[row], size=size)
        kept[row, position] = rows[row].commit(position, token)
    return kept
