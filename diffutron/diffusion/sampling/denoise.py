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
from diffutron.diffusion.sampling.canvas import Canvases, Denoised, Event, Rule
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
COLDEST = 1e-6  # a lower temperature takes the best token; float32 cannot hold logits over it


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
    state = Canvases(
        canvases,
        mask_token_id,
        pad_token_id,
        settings,
        device,
        seed=seed,
        end_token_ids=end_token_ids,
    )
    results = [Denoised() for _ in canvases]
    record = trace or watch is not None
    while True:
        active = state.alive.nonzero().flatten()[:batch_rows]
        if not len(active):
            break
        found = step(logits_fn, state, active, record=record)
        for number, events in zip(active, found, strict=True):
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


@torch.no_grad()
def step(
    logits_fn: LogitsFn, state: Canvases, rows: Tensor, *, record: bool = False
) -> list[list[Event]]:
    """Decides and commits once in each of `rows` [R], which must be alive, by one model pass.

    The rows may differ in everything. Those that follow one rule are decided together. Returns
    the events of each row if they are recorded. Raises ValueError for NaN logits.
    """
    width = int(state.length[rows].max())
    groups = state.groups(rows)
    parts = [
        _Part(state, rule, rows if len(groups) == 1 else rows[places], width)
        for rule, places in groups
    ]
    events: list[list[Event]] = [[] for _ in rows]
    for part, (_, places), logits in zip(parts, groups, _run(logits_fn, parts), strict=True):
        for place, found in zip(places, part.commit(logits, record=record), strict=True):
            events[place] = found
    state.step[rows] += 1
    state.steps_left[rows] -= 1
    state.advance(rows)
    return events


def _run(logits_fn: LogitsFn, parts: Sequence["_Part"]) -> list[Tensor]:
    """One model pass for all parts: the logits [N, V] of each, guided.

    A part with guidance takes part twice, the second time without its fixed tokens.
    """
    canvases: list[Tensor] = []
    for part in parts:
        canvases += [part.ids, part.blank()] if part.settings.guidance else [part.ids]
    twice = [1 + bool(part.settings.guidance) for part in parts]
    asked = [part.asked for part, times in zip(parts, twice, strict=True) for _ in range(times)]
    real = [part.real for part, times in zip(parts, twice, strict=True) for _ in range(times)]
    attention_mask = None if all(bool(part.real.all()) for part in parts) else _joined(real)
    logits = logits_fn(_joined(canvases), attention_mask, _joined(asked))
    pieces = iter(_split(logits, [int(one.sum()) for one in asked[:-1]]))
    return [
        guide(next(pieces), next(pieces), scale=part.settings.guidance)
        if part.settings.guidance
        else next(pieces)
        for part in parts
    ]


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


def _split(logits: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """The logits of one part after the other; the last part has what the others leave."""
    pieces: list[Tensor] = []
    start = 0
    for count in counts:
        pieces.append(logits[start : start + count])
        start += count
    return [*pieces, logits[start:]]


class _Part:
    """The rows of a step that follow one rule: what is asked of the model, then what is decided."""

    def __init__(self, state: Canvases, rule: Rule, rows: Tensor, width: int) -> None:
        self.state, self.settings, self.rows = state, rule.settings, rows
        self.end_token_ids = rule.end_token_ids
        self.ids = state.ids[rows, :width]
        self.fillable = state.fillable[rows, :width]
        self.real = state.place[:width] < state.length[rows, None]
        in_block = state.block[rows, :width] == state.current[rows, None]
        candidates = state.open(rows)[:, :width] & in_block
        num_open = candidates.sum(dim=1)
        quota = -(-num_open // state.steps_left[rows])
        committed = in_block & (self.ids != state.mask_token_id)
        self.put_back = self._remask(committed, num_open - quota)
        self.quota = quota + self.put_back.sum(dim=1)
        self.asked = candidates
        if self.settings.strategy == "random":
            self.asked = top_places(self._noise(_PLACE), candidates, self.quota)

    def blank(self) -> Tensor:
        """The canvases [R, L] with their fixed tokens masked."""
        return self.ids.masked_fill(~self.fillable & self.real, self.state.mask_token_id)

    def commit(self, logits: Tensor, *, record: bool) -> list[list[Event]]:
        """Takes the logits [N, V] of the asked positions, and writes the tokens into the state."""
        state, settings, rows, asked = self.state, self.settings, self.rows, self.asked
        tokens, sure = self._decide(logits)
        chosen = asked if settings.strategy == "random" else top_places(sure, asked, self.quota)
        if settings.threshold is not None:
            chosen = chosen | (asked & (sure > settings.threshold))
        if settings.no_repeat_ngram:
            chosen = self._without_repeats(chosen, tokens, sure)
        width = self.ids.shape[1]
        state.ids[rows, :width] = torch.where(chosen, tokens, self.ids).masked_fill(
            self.put_back, state.mask_token_id
        )
        if self.end_token_ids:
            wanted = torch.tensor(self.end_token_ids, device=self.ids.device)
            ends = torch.isin(state.ids[rows], wanted) & state.fillable[rows]
            place = torch.where(ends, state.place, state.ids.shape[1]).amin(dim=1)
            state.end[rows] = torch.minimum(state.length[rows], place)
        return self._events(chosen, tokens, sure) if record else [[] for _ in rows]

    def _decide(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The token of each asked position and the confidence in it, both [R, L]."""
        settings, mask = self.settings, self.state.mask_token_id
        ids, asked = self.ids, self.asked
        banned = torch.tensor([mask, *settings.suppress], device=ids.device)
        logits.index_fill_(1, banned, -torch.inf)
        generated = self.fillable & (ids != mask)
        row_of = asked.nonzero(as_tuple=True)[0]
        if settings.repetition_penalty != 1:
            known = ids.masked_fill(~generated, mask)
            penalize_(logits, known[row_of], penalty=settings.repetition_penalty)
        if settings.no_repeat_ngram:
            ban_ngrams_(logits, ids, generated, asked, size=settings.no_repeat_ngram)
        chosen = logits.argmax(dim=1)
        if settings.temperature > COLDEST:
            scaled = logits / settings.temperature
            keep_top_(scaled, top_k=settings.top_k, top_p=settings.top_p)
            chosen = draw_tokens(scaled, self._noise(_TOKEN)[asked])
        measure = "low_confidence" if settings.strategy == "random" else settings.strategy
        sure = confidence(logits, chosen, measure=measure)
        if bool(sure.isnan().any()):
            raise ValueError("logits_fn: the model returned NaN logits")
        tokens = torch.full_like(ids, mask)
        tokens[asked] = chosen
        grid = torch.full(ids.shape, -torch.inf, dtype=sure.dtype, device=ids.device)
        grid[asked] = sure
        return tokens, grid

    def _noise(self, stream: int) -> Tensor:
        """Uniforms [R, L] of (seed, position, step of the row)."""
        place = self.state.place[: self.ids.shape[1]]
        seed, now = self.state.seed[self.rows, None], self.state.step[self.rows, None]
        return uniform(seed, stream, place, now, device=place.device)

    def _remask(self, committed: Tensor, num_left: Tensor) -> Tensor:
        """Committed tokens of the block to mask again, at most `num_left` [R], as bool [R, L].

        Each with chance min(remask, num_left / number committed): ReMDM's bound on sigma, which
        keeps the number of masks after the step what the schedule says.
        """
        cap = self.settings.remask
        if not cap:
            return torch.zeros_like(committed)
        keys = self._noise(_REMASK)
        chance = (num_left / committed.sum(dim=1).clamp_min(1)).clamp_max(cap)
        return top_places(-keys, committed & (keys < chance[:, None]), num_left)

    def _without_repeats(self, chosen: Tensor, tokens: Tensor, sure: Tensor) -> Tensor:
        generated = self.fillable & (self.ids != self.state.mask_token_id)
        places = chosen.nonzero()
        surest_first = sure[chosen].argsort(descending=True, stable=True)
        order = [
            (int(row), int(place), int(tokens[row, place])) for row, place in places[surest_first]
        ]
        size = self.settings.no_repeat_ngram
        return without_repeats(chosen, self.ids, generated, order, size=size)

    def _events(self, chosen: Tensor, tokens: Tensor, sure: Tensor) -> list[list[Event]]:
        events: list[list[Event]] = [[] for _ in self.rows]
        now = self.state.step[self.rows].cpu()
        tokens = tokens.masked_fill(self.put_back, self.state.mask_token_id).cpu()
        sure = sure.masked_fill(self.put_back, 0.0).cpu()
        for row, place in torch.cat([chosen.nonzero(), self.put_back.nonzero()]).cpu():
            event = Event(
                int(now[row]), int(place), int(tokens[row, place]), float(sure[row, place])
            )
            events[int(row)].append(event)
        return events


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
