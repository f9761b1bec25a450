"""AdamW (Loshchilov and Hutter, arXiv 1711.05101), Muon (Jordan et al., 2024,
kellerjordan.github.io/posts/muon; at scale arXiv 2502.16982) and the learning rate of a step.

Muon replaces the update of a matrix by the orthogonal matrix next to its momentum. DeepSpeed's is
taken at every ZeRO stage, so that the update is the same one. torch's own iterates in bf16 alone,
which takes 25 times as long on a CPU without bf16 products. Where a CPU has units for bf16, a
training in bf16 iterates in it too (`standard`), elsewhere as DeepSpeed chooses (`gram`).
"""

from typing import TYPE_CHECKING, Any

from diffutron.config.training_params import TrainingParams
from diffutron.runtime.provenance import multiplies_bf16

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


def make_optimizer(
    model: "nn.Module", params: TrainingParams, matrices: "list[nn.Parameter]"
) -> "Optimizer":
    """Muon over `matrices`, fused AdamW over all other trainable weights; without any, AdamW.

    Vectors (norms, biases) do not decay.
    """
    from torch.optim import AdamW

    chosen = set(matrices)
    rest = [p for p in model.parameters() if p.requires_grad and p not in chosen]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in rest if p.dim() > 1], "weight_decay": params.weight_decay},
        {"params": [p for p in rest if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    settings: dict[str, Any] = {"lr": params.learning_rate, "betas": params.betas}
    if not matrices:
        return AdamW(groups, **settings, fused=True)
    return _muon(matrices, params, [{**group, **settings, "eps": 1e-8} for group in groups])


def _muon(
    matrices: "list[nn.Parameter]", params: TrainingParams, others: list[dict[str, Any]]
) -> "Optimizer":
    """DeepSpeed's Muon with AdamW beside it."""
    import torch
    from deepspeed.runtime.zero.muon.muon_optimizer import MuonWithAuxAdam

    for weight in matrices:
        weight.use_muon = True  # type: ignore[attr-defined] by this mark ZeRO knows them
    device = matrices[0].device.type
    in_bf16 = device == "cpu" and params.precision_on(device) == "bf16" and multiplies_bf16()
    group = {
        "params": matrices,
        "use_muon": True,
        "lr": params.optimizer.muon_learning_rate,
        "momentum": params.optimizer.muon_momentum,
        "weight_decay": params.optimizer.muon_weight_decay,
        "ns_method": "standard" if in_bf16 else "gram",
    }
    rest = [{**other, "use_muon": False} for other in others]
    return MuonWithAuxAdam(
        [group, *rest], adam_optimizer=torch.optim.AdamW, adam_optimizer_kwargs={"fused": True}
    )


def runs_muon(engine: Any) -> bool:
    """Whether any weight of the engine is trained by Muon."""
    return any(group.get("use_muon", False) for group in engine.optimizer.param_groups)


def set_learning_rates(optimizer: Any, step: int, params: TrainingParams, *, steps: int) -> None:
    """Both rates follow the same schedule."""
    peaks = {True: params.optimizer.muon_learning_rate, False: params.learning_rate}
    for group in optimizer.param_groups:
        peak = peaks[group.get("use_muon", False)]
        group["lr"] = learning_rate(step, params, steps=steps, peak=peak)


def learning_rate(
    step: int, params: TrainingParams, *, steps: int, peak: float | None = None
) -> float:
    """Rate of a step counted from 0: linear warm-up, flat, linear decay to the final share.

    peak: the flat rate, where it is not `learning_rate`.
    """
    peak = params.learning_rate if peak is None else peak
    warm = params.warmup_ratio * steps
    flat = max(params.decay_from_ratio, params.warmup_ratio) * steps
    if step < warm:
        return peak * min(1.0, (step + 1) / warm)
    if step < flat or flat >= steps:
        return peak
    left = (steps - step) / (steps - flat)
    share = params.final_lr_ratio + (1 - params.final_lr_ratio) * left
    return peak * min(1.0, share)
