"""In place of a GPU's kernel for samples in one row: a loop over the samples."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def each_sample(
    states: list[Tensor], bounds: Tensor, longest: int, scaling: float, window: int
) -> Tensor:
    """As `diffutron.modeling.attention._varlen`."""
    parts = []
    for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
        query, key, value = (x[start:stop].transpose(0, 1)[None] for x in states)
        near = torch.arange(int(stop - start))
        near = (near[:, None] - near[None]).abs() <= (window if window >= 0 else 10**9)
        mixed = scaled_dot_product_attention(query, key, value, near, scale=scaling)
        parts.append(mixed[0].transpose(0, 1))
    return torch.cat(parts)[None]
