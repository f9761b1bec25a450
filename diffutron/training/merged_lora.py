"""LoRA in training with the adapter added to the weight, where that takes less arithmetic.

x (W + s B A)^T in place of x W^T + s (x A^T) B^T: the sum is made once for all tokens of a
micro-batch, which then cost what they cost without an adapter. In return the gradient of the whole
matrix is needed, which A and B get theirs from. In bf16 the sum is rounded once, as the weights of
full fine-tuning are.

Shapes: N tokens, I inputs, O outputs, r rank.
"""

from typing import Any

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import Tensor, nn

from diffutron.modeling.matmul import fast_linear


def use_merged_lora(model: nn.Module) -> None:
    """Lets the adapters of `model` choose their way; what is saved of it does not change."""
    for module in model.modules():
        if type(module) is LoraLinear:
            module.__class__ = MergedLora


class MergedLora(LoraLinear):
    """[..., I] to [..., O]."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if args or kwargs or not self._gains(x):
            return super().forward(x, *args, **kwargs)
        (name,) = self.active_adapters
        base: Any = self.base_layer
        down: Any = self.lora_A[name].weight  # [r, I]
        up: Any = self.lora_B[name].weight  # [O, r]
        weight = torch.addmm(base.weight, up, down, alpha=self.scaling[name])
        return fast_linear(x, weight, base.bias)

    def _gains(self, x: Tensor) -> bool:
        """Whether the sum costs less, and is the same: one plain adapter without dropout, whole
        weights of one type (not in pieces, as ZeRO-3 holds them).
        """
        names = self.active_adapters
        if self.disable_adapters or self.merged or len(names) != 1 or self.lora_variant:
            return False
        (name,) = names
        if name not in self.lora_A or self.lora_bias[name]:
            return False
        if self.training and not isinstance(self.lora_dropout[name], nn.Identity):
            return False
        base: Any = self.get_base_layer().weight
        down: Any = self.lora_A[name].weight
        if hasattr(base, "ds_id") or not base.dtype == down.dtype == x.dtype:
            return False
        outputs, inputs = base.shape
        return _is_cheaper(x.numel() // inputs, inputs, outputs, self.r[name])


def _is_cheaper(tokens: int, inputs: int, outputs: int, rank: int) -> bool:
    """By the multiplications of both ways: forward and, where gradients are kept, backward."""
    trains = torch.is_grad_enabled()
    per_token = (3 if trains else 1) * rank * (inputs + outputs)
    once = (3 if trains else 1) * rank * inputs * outputs
    whole_gradient = inputs * outputs if trains else 0
    return tokens * (per_token - whole_gradient) > once
