"""Training batches as both forms see them: the same samples, times and masks."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.parts.shapes import FIRST_TOKEN, MASK, PAD, Shape
from diffutron.data.token_store import Samples
from diffutron.diffusion.process.loss import masked_diffusion
from diffutron.training.batches import GlobalBatch, Layout, TrainingSet, training_batch
from diffutron.training.trainer import MaskedLoss

from . import plain


@dataclass(frozen=True)
class Padded:
    """A batch [B, L] padded to its longest row, for the plain form."""

    noisy_ids: Tensor
    attention_mask: Tensor
    clean_ids: Tensor
    weight: Tensor  # 0 where not masked
    normalizer: float


def make_task(lengths: list[int], shape: Shape, *, seed: int) -> TrainingSet:
    """Random tokens in samples of these lengths, with the linear schedule."""
    size = np.array(lengths)
    ids = np.random.default_rng(seed).integers(FIRST_TOKEN, shape.vocab_size, int(size.sum()))
    start = np.cumsum(size) - size
    samples = Samples(ids, start, size, np.zeros_like(size), size)
    return TrainingSet(samples, masked_diffusion("linear"), seed, MASK, PAD)


def batch_of(task: TrainingSet, *, packed_length: int) -> GlobalBatch:
    """All samples of the task as one global batch of rows of `packed_length`."""
    layout = Layout(packed_length, micro_batch_rows=16, rank=0, world_size=1)
    return training_batch(task, 0, batch_size=len(task.samples), layout=layout)


def padded(task: TrainingSet) -> Padded:
    """The same batch with a row a sample: their noise does not depend on how they are packed."""
    rows = batch_of(task, packed_length=1).micro_batches
    width = max(micro.noisy_ids.shape[1] for micro in rows)
    noisy = torch.full((len(rows), width), PAD)
    clean, weight = noisy.clone(), torch.zeros(len(rows), width)
    real = torch.zeros(len(rows), width, dtype=torch.bool)
    for number, micro in enumerate(rows):
        length = micro.noisy_ids.shape[1]
        noisy[number, :length] = clean[number, :length] = micro.noisy_ids[0]
        clean[number, micro.masked_at] = micro.targets
        weight[number, micro.masked_at] = micro.weights
        real[number, :length] = True
    return Padded(noisy, real, clean, weight, rows[0].normalizer)


def plain_step(model: nn.Module, batch: Padded) -> float:
    """Forward and backward; the gradients are left in the model."""
    model.zero_grad(set_to_none=True)
    loss = plain.training_loss(
        model,
        batch.noisy_ids,
        batch.attention_mask,
        batch.clean_ids,
        batch.weight,
        normalizer=batch.normalizer,
        mask_token_id=MASK,
    )
    loss.backward()
    return float(loss.detach())


def our_step(loss: MaskedLoss, batch: GlobalBatch) -> float:
    """The same through the training's own loss."""
    loss.zero_grad(set_to_none=True)
    total = 0.0
    for micro in batch.micro_batches:
        part = loss(micro)
        part.backward()
        total += float(part.detach())
    return total


def gradients(model: nn.Module) -> Tensor:
    """All gradients of the trainable weights, flat."""
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
