"""An exponential moving average of the trainable weights, exported in their place.

As in MDLM's training (arXiv 2406.07524, appendix). It warms up: early steps are forgotten sooner.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffutron.training.ranks import Ranks

FILE = "ema.safetensors"


class MovingAverage:
    """Float32 averages of what this rank holds: whole weights, or its pieces under ZeRO-3."""

    def __init__(self, model: nn.Module, decay: float, ranks: Ranks) -> None:
        self.decay, self.ranks = decay, ranks
        self.weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.averages = {
            name: _local(p).detach().float().clone() for name, p in self.weights.items()
        }

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` finished steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        now = [_local(p).detach().float() for p in self.weights.values()]
        torch._foreach_lerp_(list(self.averages.values()), now, 1 - decay)

    def whole(self) -> dict[str, Tensor]:
        """The averages in the weights' own shapes, on the CPU, in every rank."""
        return {
            name: self._joined(average, self.weights[name]).cpu()
            for name, average in self.averages.items()
        }

    def _joined(self, average: Tensor, weight: Any) -> Tensor:
        if not hasattr(weight, "ds_tensor"):
            return average
        pieces = [torch.empty_like(average) for _ in range(self.ranks.world_size)]
        torch.distributed.all_gather(pieces, average)
        return torch.cat(pieces)[: weight.ds_numel].view(weight.ds_shape)

    def save(self, folder: Path) -> None:
        """Into a checkpoint, by all ranks together; the first one writes."""
        from safetensors.torch import save_file

        whole = self.whole()
        if self.ranks.is_main:
            save_file({name: weight.contiguous() for name, weight in whole.items()}, folder / FILE)

    def load(self, folder: Path) -> None:
        """From a checkpoint, at any world size."""
        from safetensors.torch import load_file

        for name, whole in load_file(folder / FILE).items():
            self.averages[name].copy_(self._piece(whole, self.weights[name]))

    def _piece(self, whole: Tensor, weight: Any) -> Tensor:
        if not hasattr(weight, "ds_tensor"):
            return whole
        size = weight.ds_tensor.numel()
        missing = size * self.ranks.world_size - whole.numel()
        padded = nn.functional.pad(whole.flatten(), (0, missing))
        return padded[self.ranks.rank * size :][:size]

    @torch.no_grad()
    def copy_into_model(self) -> dict[str, Tensor]:
        """The averages in place of the weights, which ends the training; returns them whole."""
        import deepspeed

        averages = self.whole()
        for name, weight in self.weights.items():
            in_pieces = hasattr(weight, "ds_id")
            with deepspeed.zero.GatheredParameters([weight], modifier_rank=0, enabled=in_pieces):
                if not in_pieces or self.ranks.is_main:
                    weight.copy_(averages[name])
        return averages


def _local(weight: Any) -> Tensor:
    return weight.ds_tensor if hasattr(weight, "ds_tensor") else weight
