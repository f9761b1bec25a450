"""The vocabulary's cross-entropy on a GPU by cut-cross-entropy (Wijmans et al., arXiv 2411.09009).

Used where the package is installed and knows biases (the PyPI release 25.1.1 does not; its
repository does); else the head's own chunks serve. Written from its interface and tested with a
stand-in for the kernel; it has not been run on a GPU.
"""

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

PACKAGE = "cut_cross_entropy"
FORBIDDEN = -1e4  # a logit whose exponential is zero, and finite in half precision


@cache
def cuda_kernel() -> Callable[..., Tensor] | None:
    """`linear_cross_entropy` of the package, or None where it cannot be used."""
    if importlib.util.find_spec(PACKAGE) is None:
        return None
    kernel: Any = importlib.import_module(PACKAGE).linear_cross_entropy
    return kernel if "bias" in inspect.signature(kernel).parameters else None


def kernel_nll(
    kernel: Callable[..., Tensor],
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    *,
    mask_token_id: int,
) -> Tensor:
    """-log p(target) [N] in float32 from features [N, H], the mask token excluded by its bias.

    The kernel's exact form: it skips no small gradients.
    """
    if bias is None:
        bias = weight.new_zeros(len(weight))
    place = torch.tensor([mask_token_id], device=bias.device)
    bias = bias.index_fill(0, place, FORBIDDEN)
    nll = kernel(features, weight, targets, bias=bias, reduction="none", impl="cce_exact")
    return nll.float()
