"""Whole weights of a running engine: read, written, exported, and kept at a size."""

from typing import Any

import torch
from torch import Tensor, nn

from diffutron.config.training_params import TrainingParams
from diffutron.modeling.head import unwrap_masked_lm
from diffutron.training.optimizer import runs_muon
from diffutron.training.ranks import Ranks


class FullWeights:
    """Whole float32 weights of an engine: ZeRO holds them in pieces, bf16 training keeps its exact
    ones apart. All ranks take part in reading and writing.
    """

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.exact: dict[Tensor, Tensor] = {}
        if not engine.zero_optimization() and engine.bfloat16_enabled():
            groups = zip(engine.optimizer.fp16_groups, engine.optimizer.fp32_groups, strict=True)
            self.exact = {
                w: full for ws, fulls in groups for w, full in zip(ws, fulls, strict=True)
            }

    @torch.no_grad()
    def read(self, weight: nn.Parameter) -> Tensor:
        from deepspeed.utils import safe_get_full_fp32_param

        if not self.engine.zero_optimization():
            return self.exact.get(weight, weight).detach()
        whole = safe_get_full_fp32_param(weight)
        assert whole is not None
        return whole

    @torch.no_grad()
    def write(self, weight: nn.Parameter, value: Tensor) -> None:
        """Both the exact weight and the rounded one, which the next forward pass reads."""
        import deepspeed
        from deepspeed.utils import safe_set_full_fp32_param

        if weight in self.exact:
            self.exact[weight].copy_(value)
        elif self.engine.zero_optimization():
            safe_set_full_fp32_param(weight, value.to(weight.device))
        in_pieces = hasattr(weight, "ds_id")
        with deepspeed.zero.GatheredParameters([weight], modifier_rank=0, enabled=in_pieces):
            weight.copy_(value)


def set_exact_weights(engine: Any, weights: dict[str, Tensor]) -> None:
    """Let a bf16 training begin at these float32 weights, which the engine has rounded."""
    full = FullWeights(engine)
    if engine.bfloat16_enabled():
        for name, parameter in engine.module.named_parameters():
            if parameter.requires_grad:
                full.write(parameter, weights[name])


def gather_full_weights(engine: Any, ranks: Ranks, known: dict[str, Tensor]) -> None:
    """Whole float32 weights back into the model of the first rank, on the CPU; ends the training.

    known: weights by name that are exported as they are given: frozen ones, and averages.
    """
    full = FullWeights(engine)
    for name, parameter in engine.module.named_parameters():
        whole = known[name] if name in known else full.read(parameter).clone()
        if ranks.is_main:
            parameter.data = whole.to("cpu", torch.float32)


class HeadNorms:
    """Keeps the query and the key matrix of each head at one size, after every step.

    The root mean square of the lengths of a head's rows becomes `size`: an input of unit variance
    without direction then has queries and keys of that size, as norms inside the attention would
    give, and the model stays a plain ModernBERT. Without it Muon, whose steps all have one length,
    makes these matrices grow until each head looks at one token. QK-Clip (Kimi K2, arXiv
    2507.20534, section 2.1) scales the same rows where their products have become too large.
    """

    def __init__(self, engine: Any, model: nn.Module, params: TrainingParams) -> None:
        self.full, self.size = FullWeights(engine), params.optimizer.head_size or 0.0
        lm = unwrap_masked_lm(model)
        self.num_heads = lm.config.num_attention_heads
        asked = self.size > 0 and runs_muon(engine)
        self.weights = [layer.attn.Wqkv.weight for layer in lm.model.layers] if asked else []

    def restore(self) -> None:
        for weight in self.weights:
            whole = self.full.read(weight).clone()
            set_head_sizes(whole, num_heads=self.num_heads, size=self.size)
            self.full.write(weight, whole)


@torch.no_grad()
def set_head_sizes(weight: Tensor, *, num_heads: int, size: float) -> None:
    """Scale a matrix of queries, keys and values (3 x hidden, hidden) in place; values stay."""
    hidden = weight.shape[1]
    heads = weight[: 2 * hidden].view(2 * num_heads, -1)
    rows = hidden // num_heads
    heads.mul_(size * rows**0.5 / heads.norm(dim=1, keepdim=True))
