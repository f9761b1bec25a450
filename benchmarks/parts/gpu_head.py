"""The part of `benchmarks.gpu` about the head: 256 000 logits of each masked position.

Loss and gradients of the head alone: ours with blocks of several sizes, PyTorch's and Liger's.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.parts.bounded import FAULTS, fault
from benchmarks.parts.gpu_run import Run
from benchmarks.parts.shapes import MASK, new_model, random_ids
from diffutron.modeling import fused_cross_entropy as fused
from diffutron.modeling import head as masked_head


def head(run: Run) -> dict[str, Any]:
    """Milliseconds and MFU of each way, the decoder frozen and trained."""
    case = Case(run)
    device = run.device.type
    case.record("ours", case.ours)
    for size in (2**27, 2**29, 2**30):
        with _changed(fused.BLOCK_LOGITS, device, size):
            case.record(f"ours_2^{size.bit_length() - 1}_logits", case.ours)
    case.record("torch_linear_cross_entropy", case.torchs)
    if run.on_gpu:
        case.record("liger", case.ligers)
        with _not_compiled():
            case.record("ours_not_compiled", case.ours)
    case.model.decoder.requires_grad_(True)
    case.trained = True
    rows = masked_head.CHUNK_ROWS[device]
    for number in (rows, 2 * rows, 4 * rows):
        with _changed(masked_head.CHUNK_ROWS, device, number):
            case.record(f"ours_trained_{number}_rows", case.ours)
    return run.partial


class Case:
    """Masked positions, an odd number of them, as batches have."""

    def __init__(self, run: Run) -> None:
        self.run, self.trained = run, False
        self.model: Any = new_model(run.shape).to(run.device, run.dtype).requires_grad_(False)
        number = 65 if run.tiny else 40_001
        hidden = torch.randn(number, run.shape.hidden_size, device=run.device, dtype=run.dtype)
        self.hidden = hidden.requires_grad_()
        self.targets = random_ids(number, shape=run.shape, seed=2).to(run.device)
        self.weights = torch.ones(number, device=run.device)

    def record(self, name: str, way: Callable[[], Tensor]) -> None:
        """What a way takes, or why it does not run."""
        try:
            one = self.run.timed(lambda: way().backward())
        except FAULTS as error:
            self.run.partial[name] = {"left_out": fault(error)}
            return
        finally:
            self.model.zero_grad(set_to_none=True)
            self.hidden.grad = None
        decoder, dense = self.model.decoder.weight.numel(), self.model.head.dense.weight.numel()
        flops = (decoder * (6.0 if self.trained else 4.0) + 4.0 * dense) * len(self.targets)
        self.run.partial[name] = one | {"mfu": self.run.mfu(flops, one["ms"])}

    def ours(self) -> Tensor:
        return masked_head.head_nll(
            self.model, self.hidden, self.targets, self.weights, mask_token_id=MASK
        ).sum()

    def torchs(self) -> Tensor:
        functional: Any = nn.functional
        if not hasattr(functional, "linear_cross_entropy"):
            raise RuntimeError(f"torch {torch.__version__} has none")
        options: Any = nn
        return functional.linear_cross_entropy(
            *self._of_the_decoder(), reduction="sum", options=options.LinearCrossEntropyOptions()
        )

    def ligers(self) -> Tensor:
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss  # pyright: ignore[reportMissingImports]

        features, weight, targets = self._of_the_decoder()
        loss = LigerFusedLinearCrossEntropyLoss(reduction="sum")
        return loss(weight, features, targets, self.model.decoder.bias)

    def _of_the_decoder(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.model.head(self.hidden), self.model.decoder.weight, self.targets


@contextlib.contextmanager
def _changed(sizes: dict[str, int], device: str, size: int) -> Iterator[None]:
    before = sizes[device]
    sizes[device] = size
    try:
        yield
    finally:
        sizes[device] = before


@contextlib.contextmanager
def _not_compiled() -> Iterator[None]:
    torch.compiler.set_stance("force_eager")
    try:
        yield
    finally:
        torch.compiler.set_stance("default")
