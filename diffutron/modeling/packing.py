"""Samples of unequal length, packed into rows without padding between them.

A packed row holds several samples side by side. Each sample sees itself alone (block-diagonal
attention, for the full and for the sliding layers) and has its own positions. So losses and
gradients equal those of the padded batch, at the cost of the real tokens.

Shapes: S samples, R rows, W width of the widest row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def first_fit(lengths: Sequence[int], *, packed_length: int) -> list[list[int]]:
    """Rows of indices whose lengths add up to at most `packed_length`, filled in the order given.

    A sample longer than `packed_length` has a row to itself.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    oldest = 0  # rows before it are full
    for index, length in enumerate(lengths):
        for row in range(oldest, len(rows)):
            if room[row] >= length:
                break
        else:
            row = len(rows)
            rows.append([])
            room.append(packed_length)
        rows[row].append(index)
        room[row] -= length
        while oldest < len(rows) and room[oldest] <= 0:
            oldest += 1
    return rows


@dataclass(frozen=True)
class PackedRows:
    """Samples side by side: their ids, positions, and which positions belong together."""

    ids: Tensor  # int64 [R, W]
    position: Tensor  # int64 [R, W], from 0 in each sample
    segment: Tensor  # int32 [R, W], number of the sample in the row; -1 at the end of a row
    offset: Tensor  # int64 [S], where a sample starts in the flattened [R * W]


def pack_rows(
    samples: Sequence[np.ndarray], rows: Sequence[Sequence[int]], *, pad_token_id: int
) -> PackedRows:
    """Lay samples out in rows; `rows` holds indices into `samples`, as `first_fit` returns them."""
    width = max((sum(len(samples[i]) for i in row) for row in rows), default=1)
    ids = np.full((len(rows), width), pad_token_id, dtype=np.int64)
    position = np.zeros_like(ids)
    segment = np.full(ids.shape, -1, dtype=np.int32)
    offset = np.zeros(len(samples), dtype=np.int64)
    for r, row in enumerate(rows):
        at = 0
        for number, index in enumerate(row):
            end = at + len(samples[index])
            ids[r, at:end] = samples[index]
            position[r, at:end] = np.arange(end - at)
            segment[r, at:end] = number
            offset[index] = r * width + at
            at = end
    return PackedRows(*map(torch.from_numpy, (ids, position, segment, offset)))


def attention_masks(segment: Tensor, *, window: int) -> dict[str, Tensor]:
    """Bool masks [R, 1, W, W] for both ModernBERT layer kinds, True where a position may attend.

    window: the largest distance in a sliding layer (`config.sliding_window`). Padding attends to
    padding, as a row of a softmax may not be empty.
    """
    together = segment[:, None, :, None] == segment[:, None, None, :]
    place = torch.arange(segment.shape[1], device=segment.device)
    near = (place[:, None] - place[None, :]).abs() <= window
    return {"full_attention": together, "sliding_attention": together & near}
