"""Generation by masked diffusion: one denoising loop for every way of unmasking.

The reverse process of MDLM (arXiv 2406.07524) with the discrete steps of LLaDA (arXiv 2502.09992,
algorithms 4 and 5): in each step the model sees the canvas, tokens are decided at masked
positions of the current block, and the surest of them (or random ones) are committed. Fixed
tokens may stand anywhere: a prompt is the special case where they come first.

Every random number is a function of (seed, position, step of the row): a row's text does not
depend on its batch.

Shapes: R rows of the step, L the longest canvas, N decided positions, V vocabulary.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from diffutron.diffusion import LogitsFn
from diffutron.diffusion.process.noise import uniform
from diffutron.diffusion.sampling.canvas import Canvases, Denoised, Event
from diffutron.diffusion.sampling.settings import Settings
from diffutron.diffusion.sampling.token_choice import (
    ban_ngrams_,
    confidence,
    draw_tokens,
    guide,
    keep_top_,
    penalize_,
    without_repeats,
)

_TOKEN, _PLACE, _REMASK = 1, 2, 3  # one stream of random numbers each


@torch.no_grad()
def denoise(
    logits_fn: LogitsFn,
    canvases: Sequence[Sequence[int]],
    *,
    mask_token_id: int,
    pad_token_id: int,
    settings: Settings,
    seed: int = 0,
    end_token_ids: Sequence[int] = (),
    find_end: Callable[[list[int]], int | None] | None = None,
    batch_rows: int = 8,
    trace: bool = False,
    watch: Callable[[int, list[Event]], None] | None = None,
    device: torch.device | str = "cpu",
) -> list[Denoised]:
    """Fills the mask tokens of each canvas; all other tokens stay as they are.

    The end policy stops a row: at the first of `end_token_ids` once everything before it is
    filled, or where `find_end(filled ids so far, without gaps)` returns how many of them to keep.
    It never sees the fixed tokens. Finished rows leave the batch and waiting ones take their
    place. `watch(row, events)` is called after each pass. The mask token is never produced,
    whatever the logits. Raises ValueError for NaN logits and for fewer steps than blocks.
    """
    state = Canvases(canvases, mask_token_id, pad_token_id, settings, device)
    loop = _Loop(logits_fn, state, settings, seed, end_token_ids)
    results = [Denoised() for _ in canvases]
    record = trace or watch is not None
    while True:
        active = state.alive.nonzero().flatten()[:batch_rows]
        if not len(active):
            break
        for number, events in zip(active, loop.step(active, record=record), strict=True):
            row = int(number)
            results[row].events += events if trace else []
            results[row].num_steps += 1
            if watch is not None:
                watch(row, events)
            if find_end is not None:
                state.cut(row, find_end(state.prefix(row)))
    for row, result in enumerate(results):
        result.token_ids, result.canvas, result.ended = state.result(row)
    return results


class _Loop:
    """One step of the rows that are at work."""

    def __init__(
        self,
        logits_fn: LogitsFn,
        state: Canvases,
        settings: Settings,
        seed: int,
        end_token_ids: Sequence[int],
    ) -> None:
        self.logits_fn, self.state, self.settings, self.seed = logits_fn, state, settings, seed
        device = state.ids.device
        self.end_token_ids = torch.tensor(end_token_ids, dtype=torch.int64, device=device)
        self.banned = torch.tensor([state.mask_token_id, *settings.suppress], device=device)

    def step(self, rows: Tensor, *, record: bool) -> list[list[Event]]:
        """Decides and commits once in each of `rows` [R].

        The events of each row if they are recorded.
        """
        state, settings = self.state, self.settings
        width = int(state.length[rows].max())
        ids = state.ids[rows, :width]
        in_block = state.block[rows, :width] == state.current[rows, None]
        candidates = state.open(rows)[:, :width] & in_block
        num_open = candidates.sum(dim=1)
        quota = -(-num_open // state.steps_left[rows])
        committed = in_block & (ids != state.mask_token_id)
        put_back = self._remask(rows, committed, num_open - quota)
        quota = quota + put_back.sum(dim=1)
        asked = candidates
        if settings.strategy == "random":
            asked = top_places(self._noise(rows, _PLACE, width), candidates, quota)
        tokens, sure = self._decide(rows, ids, asked)
        chosen = asked if settings.strategy == "random" else top_places(sure, asked, quota)
        if settings.threshold is not None:
            chosen = chosen | (asked & (sure > settings.threshold))
        if settings.no_repeat_ngram:
            chosen = self._without_repeats(rows, ids, chosen, tokens, sure)
        state.ids[rows, :width] = torch.where(chosen, tokens, ids).masked_fill(
            put_back, state.mask_token_id
        )
        events: list[list[Event]] = [[] for _ in rows]
        if record:
            self._record(events, rows, chosen, put_back, tokens, sure)
        self._finish(rows)
        return events

    def _decide(self, rows: Tensor, ids: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
        """The token of each asked position and the confidence in it, both [R, L]."""
        state, settings = self.state, self.settings
        fillable = state.fillable[rows, : ids.shape[1]]
        real = state.place[: ids.shape[1]] < state.length[rows, None]
        logits = self._logits(ids, fillable, None if bool(real.all()) else real, asked)
        generated = fillable & (ids != state.mask_token_id)
        row_of = asked.nonzero(as_tuple=True)[0]
        if settings.repetition_penalty != 1:
            known = ids.masked_fill(~generated, state.mask_token_id)
            penalize_(logits, known[row_of], penalty=settings.repetition_penalty)
        if settings.no_repeat_ngram:
            ban_ngrams_(logits, ids, generated, asked, size=settings.no_repeat_ngram)
        chosen = logits.argmax(dim=1)
        if settings.temperature > 0:
            scaled = logits / settings.temperature
            keep_top_(scaled, top_k=settings.top_k, top_p=settings.top_p)
            chosen = draw_tokens(scaled, self._noise(rows, _TOKEN, ids.shape[1])[asked])
        measure = "low_confidence" if settings.strategy == "random" else settings.strategy
        sure = confidence(logits, chosen, measure=measure)
        if bool(sure.isnan().any()):
            raise ValueError("logits_fn: the model returned NaN logits")
        tokens = torch.full_like(ids, state.mask_token_id)
        tokens[asked] = chosen
        grid = torch.full(ids.shape, -torch.inf, dtype=sure.dtype, device=ids.device)
        grid[asked] = sure
        return tokens, grid

    def _logits(
        self, ids: Tensor, fillable: Tensor, attention_mask: Tensor | None, asked: Tensor
    ) -> Tensor:
        """Logits [N, V] of the asked positions, guided, without the tokens that are never
        produced.
        """
        if self.settings.guidance:
            real = True if attention_mask is None else attention_mask
            blank = ids.masked_fill(~fillable & real, self.state.mask_token_id)
            twice = None if attention_mask is None else attention_mask.repeat(2, 1)
            both = self.logits_fn(torch.cat([ids, blank]), twice, asked.repeat(2, 1))
            conditional, unconditional = both.chunk(2)
            logits = guide(conditional, unconditional, scale=self.settings.guidance)
        else:
            logits = self.logits_fn(ids, attention_mask, asked)
        return logits.index_fill_(1, self.banned, -torch.inf)

    def _noise(self, rows: Tensor, stream: int, width: int) -> Tensor:
        """Uniforms [R, L] of (seed, position, step of the row)."""
        place, step = self.state.place[:width], self.state.step[rows, None]
        return uniform(self.seed, stream, place, step, device=place.device)

    def _remask(self, rows: Tensor, committed: Tensor, num_left: Tensor) -> Tensor:
        """Committed tokens of the block to mask again, at most `num_left` [R], as bool [R, L].

        Each with chance min(remask, num_left / number committed): ReMDM's bound on sigma, which
        keeps the number of masks after the step what the schedule says.
        """
        cap = self.settings.remask
        if not cap:
            return torch.zeros_like(committed)
        keys = self._noise(rows, _REMASK, committed.shape[1])
        chance = (num_left / committed.sum(dim=1).clamp_min(1)).clamp_max(cap)
        return top_places(-keys, committed & (keys < chance[:, None]), num_left)

    def _without_repeats(
        self, rows: Tensor, ids: Tensor, chosen: Tensor, tokens: Tensor, sure: Tensor
    ) -> Tensor:
        generated = self.state.fillable[rows, : ids.shape[1]] & (ids != self.state.mask_token_id)
        places = chosen.nonzero()
        surest_first = sure[chosen].argsort(descending=True, stable=True)
        order = [
            (int(row), int(place), int(tokens[row, place])) for row, place in places[surest_first]
        ]
        return without_repeats(chosen, ids, generated, order, size=self.settings.no_repeat_ngram)

    def _record(
        self,
        events: list[list[Event]],
        rows: Tensor,
        chosen: Tensor,
        put_back: Tensor,
        tokens: Tensor,
        sure: Tensor,
    ) -> None:
        step = self.state.step[rows].cpu()
        tokens = tokens.masked_fill(put_back, self.state.mask_token_id).cpu()
        sure = sure.masked_fill(put_back, 0.0).cpu()
        for row, place in torch.cat([chosen.nonzero(), put_back.nonzero()]).cpu():
            event = Event(
                int(step[row]), int(place), int(tokens[row, place]), float(sure[row, place])
            )
            events[int(row)].append(event)

    def _finish(self, rows: Tensor) -> None:
        """Counts the step, looks for end tokens, and moves on to the next block."""
        state = self.state
        state.step[rows] += 1
        state.steps_left[rows] -= 1
        if len(self.end_token_ids):
            ends = torch.isin(state.ids[rows], self.end_token_ids) & state.fillable[rows]
            place = torch.where(ends, state.place, state.ids.shape[1]).amin(dim=1)
            state.end[rows] = torch.minimum(state.length[rows], place)
        state.advance(rows)


def top_places(value: Tensor, allowed: Tensor, count: Tensor) -> Tensor:
    """The `count` [R] allowed positions with the highest values in each row, the first of equals.

    Bool [R, L].
    """
    order = (
        value.masked_fill(~allowed, -torch.inf).sort(dim=1, descending=True, stable=True).indices
    )
    rank = torch.empty_like(order)
    rank.scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
    return allowed & (rank < count[:, None])
