"""The least arithmetic of a training step, from the shape of the model (multiply-add = 2)."""

import re
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
    matrix costs 4 a weight and token (forward, gradient of its input), a trainable one 6. With an
    adapter it costs what its own factors add, or as much as a trainable one (`merged_lora`),
    whichever is less.
    """
    from diffutron.modeling.head import unwrap_masked_lm

    lm = unwrap_masked_lm(model)
    matrices = [pair for pair in lm.model.layers.named_parameters() if pair[1].dim() == 2]
    by_layer: dict[str, list[nn.Parameter]] = {}
    for name, weight in matrices:
        # With an adapter: `X.base_layer.weight`, `X.lora_A.default.weight`.
        layer = re.split(r"\.(?:base_layer|lora_[AB])\.", name)[0]
        by_layer.setdefault(layer, []).append(weight)
    layers = sum(
        min(sum(map(_cost, parts)), 6.0 * max(map(_size, parts))) for parts in by_layer.values()
    )
    head = _cost(lm.head.dense.weight) + _cost(lm.decoder.weight)
    kinds = lm.config.layer_types
    pairs = sum(attended[kind == "sliding_attention"] for kind in kinds)
    return layers * tokens + head * masked + 12.0 * lm.config.hidden_size * pairs


def _cost(weight: "nn.Parameter") -> float:
    return (6.0 if weight.requires_grad else 4.0) * _size(weight)


def _size(weight: "nn.Parameter") -> int:
    return getattr(weight, "ds_numel", weight.numel())  # a ZeRO-3 weight is in pieces


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
