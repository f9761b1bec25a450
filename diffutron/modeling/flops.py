"""The least arithmetic of a training step, from the shape of the model (multiply-add = 2)."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def training_flops(
    model: "nn.Module", *, tokens: int, masked: int, attended: tuple[int, int]
) -> float:
    """FLOPs of forward and backward over `tokens` real tokens of which `masked` meet the head.

    attended: pairs of positions that see each other in one full and in one sliding layer. A frozen
    matrix costs 4 a weight and token (forward, gradient of its input), a trainable one 6.
    """
    from diffutron.modeling.head import unwrap_masked_lm

    lm = unwrap_masked_lm(model)
    layers = sum(_cost(p) for name, p in lm.model.layers.named_parameters() if p.dim() == 2)
    head = _cost(lm.head.dense.weight) + _cost(lm.decoder.weight)
    kinds = lm.config.layer_types
    pairs = sum(attended[kind == "sliding_attention"] for kind in kinds)
    return layers * tokens + head * masked + 12.0 * lm.config.hidden_size * pairs


def _cost(weight: "nn.Parameter") -> float:
    numel = getattr(weight, "ds_numel", weight.numel())  # a ZeRO-3 weight is in pieces
    return (6.0 if weight.requires_grad else 4.0) * numel


def matmul_peak(
    device: str, *, repeats: int = 5, clock: Callable[[], float] = time.perf_counter
) -> float:
    """FLOP/s of a large matrix product on this machine now: the roof that training is held to."""
    import torch

    from diffutron.modeling.matmul import matmul

    on_gpu = device.startswith("cuda")
    side, dtype = (8192, torch.bfloat16) if on_gpu else (1024, torch.float32)
    # Random numbers: equal ones need less power, and some processors are faster then.
    left, right = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(repeats + 1):
        started = clock()
        with torch.no_grad():
            matmul(left, right)
        if on_gpu:
            torch.cuda.synchronize()  # cuda only
        best = min(best, clock() - started)
    return 2.0 * side**3 / best
