"""AdamW (Loshchilov and Hutter, arXiv 1711.05101) and the learning rate of a step."""

from typing import TYPE_CHECKING

from diffutron.config.params import TrainingParams

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import AdamW


def adamw(model: "nn.Module", params: TrainingParams) -> "AdamW":
    """Fused AdamW over the trainable weights; vectors (norms, biases) do not decay."""
    from torch.optim import AdamW

    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.dim() > 1], "weight_decay": params.weight_decay},
        {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return AdamW(
        [group for group in groups if group["params"]],
        lr=params.learning_rate,
        betas=params.betas,
        fused=True,
    )


def learning_rate(step: int, params: TrainingParams, *, steps: int) -> float:
    """Rate of a step counted from 0: linear warm-up, flat, linear decay to the final share."""
    warm = params.warmup_ratio * steps
    flat = max(params.decay_from_ratio, params.warmup_ratio) * steps
    if step < warm:
        return params.learning_rate * min(1.0, (step + 1) / warm)
    if step < flat or flat >= steps:
        return params.learning_rate
    left = (steps - step) / (steps - flat)
    share = params.final_lr_ratio + (1 - params.final_lr_ratio) * left
    return params.learning_rate * min(1.0, share)
