"""The canvases of all rows that are denoised together, and how far each has come.

Shapes: B rows in all, R those of a step, L the longest canvas.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, cast

import torch
from torch import Tensor

from diffutron.diffusion.sampling.settings import Settings

_LAST_BLOCK = torch.iinfo(torch.int64).max
_VECTORS = (
    *("length", "steps_each", "steps_extra", "end", "step"),
    *("current", "steps_left", "alive", "seed"),
)


def _matrices(pad_token_id: int) -> dict[str, int]:
    """The matrices of the rows, with what stands after the end of a row."""
    return {"ids": pad_token_id, "fillable": False, "block": _LAST_BLOCK}


class Event(NamedTuple):
    """A token committed at a position in a step (counted from 0 for each row), with its confidence.

    A token put back by remasking is an event with the mask token and confidence 0.
    """

    step: int
    position: int
    token: int
    confidence: float


@dataclass(slots=True)
class Denoised:
    """token_ids: what was filled in, in order, up to the end policy's cut. canvas: the whole row
    up to it.

    ended: whether the end policy cut the row. num_steps: model passes. events: the trace, if
    asked for.
    """

    token_ids: list[int] = field(default_factory=list[int])
    canvas: list[int] = field(default_factory=list[int])
    ended: bool = False
    num_steps: int = 0
    events: list[Event] = field(default_factory=list[Event])


class Rule(NamedTuple):
    """What rows share that are decided together; length, blocks, steps and seed may differ."""

    settings: Settings
    end_token_ids: tuple[int, ...]


class Canvases:
    """The canvases of all rows and how far each has come. Rows may join and leave between steps.

    Vectors are [B], matrices [B, L]. `block` is the number of a position's block, `steps_each`
    and `steps_extra` the steps of a row's blocks, `current` the block at work.
    """

    def __init__(
        self,
        canvases: Sequence[Sequence[int]],
        mask_token_id: int,
        pad_token_id: int,
        settings: Settings,
        device: torch.device | str,
        *,
        seed: int = 0,
        end_token_ids: Sequence[int] = (),
    ) -> None:
        """Rows of one setting. Raises ValueError for fewer steps than blocks."""
        self.mask_token_id, self.pad_token_id = mask_token_id, pad_token_id
        rows = [torch.tensor(list(canvas), dtype=torch.int64, device=device) for canvas in canvases]
        self.length = torch.tensor([len(row) for row in rows], dtype=torch.int64, device=device)
        self.ids = (
            torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad_token_id)
            if rows
            else torch.zeros(0, 0, dtype=torch.int64, device=device)
        )
        self.place = torch.arange(self.ids.shape[1], device=device)
        real = self.place < self.length[:, None]
        self.fillable = (self.ids == mask_token_id) & real
        rank = self.fillable.cumsum(dim=1) - 1
        size = settings.block_length or max(1, self.ids.shape[1])
        self.block = torch.where(self.fillable, rank // size, _LAST_BLOCK)
        num_blocks = (self.fillable.sum(dim=1) + size - 1) // size
        if bool((num_blocks > settings.num_steps).any()):
            raise ValueError(
                f"num_steps={settings.num_steps} must be at least one for each of the "
                f"{int(num_blocks.max())} blocks of {size}"
            )
        self.steps_each = settings.num_steps // num_blocks.clamp_min(1)
        self.steps_extra = settings.num_steps % num_blocks.clamp_min(1)
        self.end = self.length.clone()
        self.step = torch.zeros_like(self.length)
        self.current = torch.full_like(self.length, -1)
        self.steps_left = torch.zeros_like(self.length)
        self.alive = torch.ones_like(self.length, dtype=torch.bool)
        signed = (seed + 2**63) % 2**64 - 2**63  # as `hash_keys` reads a whole number
        self.seed = torch.full_like(self.length, signed)
        shared = replace(settings, num_steps=1, block_length=None)
        self.rules = [Rule(shared, tuple(end_token_ids))] * len(rows)
        self.advance(torch.arange(len(rows), device=device))

    def join(self, other: "Canvases") -> None:
        """Takes in the rows of another, after its own."""
        width = max(self.ids.shape[1], other.ids.shape[1])
        for name, fill in _matrices(self.pad_token_id).items():
            parts = [
                torch.nn.functional.pad(part, (0, width - part.shape[1]), value=fill)
                for part in (self._tensor(name), other._tensor(name))
            ]
            setattr(self, name, torch.cat(parts))
        for name in _VECTORS:
            setattr(self, name, torch.cat([self._tensor(name), other._tensor(name)]))
        self.place = torch.arange(width, device=self.ids.device)
        self.rules = self.rules + other.rules

    def keep(self, rows: Sequence[int]) -> None:
        """Drops all other rows; those kept are numbered anew, in the order given."""
        kept = torch.tensor(rows, dtype=torch.int64, device=self.ids.device)
        for name in _VECTORS:
            setattr(self, name, self._tensor(name)[kept])
        width = int(self.length.max()) if rows else 0
        for name in _matrices(self.pad_token_id):
            setattr(self, name, self._tensor(name)[kept, :width])
        self.place = self.place[:width]
        self.rules = [self.rules[row] for row in rows]

    def _tensor(self, name: str) -> Tensor:
        return cast(Tensor, getattr(self, name))

    def groups(self, rows: Tensor) -> list[tuple[Rule, list[int]]]:
        """The rules that `rows` [R] follow, each with the places in `rows` that follow it."""
        found: dict[Rule, list[int]] = {}
        for place, row in enumerate(_ints(rows)):
            found.setdefault(self.rules[row], []).append(place)
        return list(found.items())

    def open(self, rows: Tensor) -> Tensor:
        """Positions still to be filled, bool [R, L]."""
        masked = (self.ids[rows] == self.mask_token_id) & self.fillable[rows]
        return masked & (self.place < self.end[rows, None])

    def advance(self, rows: Tensor) -> None:
        """Moves rows to their first unfinished block and retires those without one."""
        if not self.ids.numel():
            self.alive[rows] = False
            return
        block = torch.where(self.open(rows), self.block[rows], _LAST_BLOCK).amin(dim=1)
        fresh = self.steps_each[rows] + (block < self.steps_extra[rows])
        self.steps_left[rows] = torch.where(
            block == self.current[rows], self.steps_left[rows].clamp_min(1), fresh
        )
        self.current[rows] = block
        self.alive[rows] &= block != _LAST_BLOCK

    def gaps(self, rows: Tensor, *, settled: bool = False) -> list[int]:
        """The first position of each row [R] that is still to be filled, or where the row ends.

        settled: or that may be masked again. Remasking reaches the whole block at work.
        """
        unsure = self.open(rows)
        if settled:
            again = [self.rules[row].settings.remask > 0 for row in _ints(rows)]
            at_work = self.block[rows] == self.current[rows, None]
            unsure = unsure | (at_work & torch.tensor(again, device=rows.device)[:, None])
        return _ints(torch.where(unsure, self.place, self.end[rows, None]).amin(dim=1))

    def filled(self, row: int, stop: int) -> list[int]:
        """What has been filled in before a position."""
        return _ints(self.ids[row, :stop][self.fillable[row, :stop]])

    def prefix(self, row: int) -> list[int]:
        """What has been filled in before the first gap."""
        (stop,) = self.gaps(torch.tensor([row], device=self.ids.device))
        return self.filled(row, stop)

    def cut(self, row: int, num_kept: int | None) -> None:
        """Ends a row after `num_kept` filled tokens."""
        if num_kept is not None:
            places = self.fillable[row].nonzero().flatten()
            if num_kept < len(places):
                self.end[row] = places[num_kept]
            self.alive[row] = False

    def result(self, row: int) -> tuple[list[int], list[int], bool]:
        end = self.end[row]
        canvas = self.ids[row, :end]
        filled = canvas[self.fillable[row, :end]]
        return _ints(filled), _ints(canvas), bool(end < self.length[row])


def _ints(values: Tensor) -> list[int]:
    return cast(list[int], values.tolist())  # pyright: ignore[reportUnknownMemberType]
