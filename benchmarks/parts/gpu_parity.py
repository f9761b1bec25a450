"""The parts of `benchmarks.gpu` that say whether a GPU is right: each runs on a CPU as well.

A parity is between the CPU in float32 or float64 and the device.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.parts.gpu_run import (
    HALF,
    NANO,
    SMALL,
    Run,
    document_batch,
    lengths,
    new_trainer,
    scores,
)
from benchmarks.parts.problems import make_task
from benchmarks.parts.shapes import BOS, EOS, MASK, PAD, new_adapted_model, new_model, random_ids
from diffutron.diffusion.process.noise import uniform
from diffutron.diffusion.sampling.denoise import denoise
from diffutron.diffusion.sampling.settings import Settings
from diffutron.modeling import attention as packed
from diffutron.modeling.head import logits_fn, run_encoder
from diffutron.modeling.packing import attention_masks
from diffutron.training.batches import GlobalBatch
from diffutron.training.ranks import training_process
from diffutron.training.trainer import MaskedLoss


def parity(run: Run) -> dict[str, Any]:
    """Noise, sampled tokens and scores of the device against the CPU, in float64."""
    keys = torch.arange(100_000)
    theirs = uniform(7, 3, keys.to(run.device), device=run.device)
    found: dict[str, Any] = {"noise_equal": torch.equal(uniform(7, 3, keys), theirs.cpu())}
    model = new_model(NANO).double()
    canvases = [
        [BOS, *random_ids(n, shape=NANO, seed=n).tolist(), *[MASK] * 24] for n in (5, 17, 40)
    ]
    chosen = {
        "greedy": {},
        "temperature": {"temperature": 1.0, "top_p": 0.9},
        "remask": {"temperature": 1.0, "remask": 0.3},
        "guidance": {"guidance": 1.0},
    }
    for name, options in chosen.items():
        texts = [
            [
                row.token_ids
                for row in denoise(
                    logits_fn(model.to(device), mask_token_id=MASK),
                    canvases,
                    mask_token_id=MASK,
                    pad_token_id=PAD,
                    settings=Settings(num_steps=24, block_length=8, **options),
                    seed=3,
                    end_token_ids=[EOS],
                    device=device,
                )
            ]
            for device in (torch.device("cpu"), run.device)
        ]
        found[f"{name}_equal"] = texts[0] == texts[1]
    values = [
        [one.logprob for one in scores(model.to(device), device, choices=6, shape=NANO)]
        for device in (torch.device("cpu"), run.device)
    ]
    found["largest_score_difference"] = float(np.abs(np.subtract(*values)).max())
    return found


def attention(run: Run) -> dict[str, Any]:
    """The kernel for packed rows against attention with masks: states, gradients, the window."""
    if not run.on_gpu:
        return {"skipped": "the kernel needs a GPU"}
    model: Any = new_model(SMALL).train().to(run.device, HALF)
    packed.use_packed_attention(model)
    micro = document_batch(SMALL, 4000).micro_batches[0]
    padded = (x.to(run.device) for x in (micro.segment, micro.noisy_ids, micro.position_ids))
    segment, ids, positions = padded
    masks = attention_masks(segment, window=model.config.sliding_window)
    by_masks = run_encoder(model, ids, masks, positions).flatten(0, 1)[segment.flatten() >= 0]
    row = micro.to(run.device)
    by_kernel = run_encoder(
        model,
        row.noisy_ids,
        {"full_attention": None, "sliding_attention": None},
        row.position_ids,
        sample_bounds=row.bounds,
        longest=row.longest,
    )[0]
    weight = model.model.layers[1].attn.Wqkv.weight
    direction = torch.randn_like(by_kernel)
    one, other = (
        torch.autograd.grad((states * direction).sum(), weight)[0]
        for states in (by_kernel, by_masks)
    )
    found: dict[str, Any] = {
        "largest_state_difference": float((by_kernel - by_masks).detach().abs().max()),
        "largest_state": float(by_masks.detach().abs().max()),
        "gradient_difference": _relative(one, other),
    }
    query, key, value = (torch.randn(300, 4, 32, device=run.device, dtype=HALF) for _ in range(3))
    bounds = torch.tensor([0, 300], dtype=torch.int32, device=run.device)
    before = packed._varlen([query, key, value], bounds, 300, 0.2, 64)[0, 150]
    for distance in (64, 65):
        moved = value.clone()
        moved[150 + distance] += 5
        after = packed._varlen([query, key, moved], bounds, 300, 0.2, 64)[0, 150]
        found[f"sees_{distance}"] = not torch.equal(before, after)
    return found


def _relative(found: Tensor, expected: Tensor) -> float:
    """The norm of the difference over the norm."""
    expected = expected.float().cpu()
    return float((found.float().cpu() - expected).norm() / expected.norm())


def gradients(run: Run) -> dict[str, Any]:
    """Loss and gradients of one batch: float32 on the CPU against bf16 on the device.

    The weights are numbers that bf16 can hold, so that both begin at the same.
    """
    found: dict[str, Any] = {}
    batch = document_batch(SMALL, 4000)
    for kind, make in (("full", new_model), ("lora", new_adapted_model)):
        model = make(SMALL).train()
        model.load_state_dict({k: v.to(HALF).float() for k, v in model.state_dict().items()})
        expected_loss, expected = _loss_and_gradients(model, batch, torch.device("cpu"))
        loss, theirs = _loss_and_gradients(model.to(run.device, HALF), batch, run.device)
        found[kind] = {
            "loss_difference": abs(loss - expected_loss) / expected_loss,
            "gradient_difference": _relative(theirs, expected),
        }
    return found


def _loss_and_gradients(
    model: nn.Module, batch: GlobalBatch, device: torch.device
) -> tuple[float, Tensor]:
    loss = MaskedLoss(model, mask_token_id=MASK)
    total = 0.0
    for micro in batch.micro_batches:
        part = loss(micro.to(device))
        part.backward()
        total += float(part.detach())
    flat = [p.grad.float().cpu().flatten() for p in model.parameters() if p.grad is not None]
    model.zero_grad(set_to_none=True)
    return total, torch.cat(flat)


def engine(run: Run) -> dict[str, Any]:
    """The training loop under DeepSpeed (NCCL on a GPU) at each ZeRO stage, and a resumed one."""
    found, losses = run.partial, {}
    for stage in (0, 1, 2, 3):
        name = f"zero{stage}"
        found[name], losses[name] = _trained(run, name, stage, adapted=stage > 0)
    _trained(run, "cut", 2, adapted=True, stop_at=14)
    rest, after = _trained(run, "cut", 2, adapted=True)
    found["resumed_from"] = rest["resumed_from"]
    pairs = zip(after, losses["zero2"], strict=True)
    found["largest_loss_difference_after_resume"] = max(abs(one - two) for one, two in pairs)
    return found


class Stopped(RuntimeError):
    """A training that is cut short on purpose."""


def _trained(
    run: Run, name: str, stage: int, *, adapted: bool, stop_at: int | None = None
) -> tuple[dict[str, Any], list[float]]:
    """The figures of a short training, and its losses."""
    shape = NANO if run.tiny else SMALL
    task = make_task(lengths(20_000 if run.tiny else 400_000), shape, seed=5)
    changes = {
        "steps": 18, "batch_size": 2 if run.tiny else 16, "packed_length": 512,
        "micro_batch_rows": 4,
        "learning_rate": 1e-4, "zero_stage": stage, "checkpoint_every": 10,
        "evaluate_every": 18, "evaluate_samples": 16,
    }  # fmt: skip
    model = (new_adapted_model if adapted else new_model)(shape).train()
    with training_process() as ranks:
        trainer = new_trainer(run, name, model, task, task.samples.first(16), changes, ranks)
        if stop_at is not None:
            plain = trainer._step

            def stepping(number: int, batch: GlobalBatch) -> None:
                if number == stop_at:
                    raise Stopped
                plain(number, batch)

            trainer._step = stepping  # type: ignore[method-assign]
        try:
            trainer.run()
            trainer.gather_full_weights()
        except Stopped:
            pass
    losses = [float(point["loss"] or 0.0) for point in trainer.state.curve]
    figures = {
        "loss": losses[-1],
        "tokens_per_s": round(trainer.state.tokens / trainer.state.seconds),
        "skipped_steps": trainer.state.skipped_steps,
        "resumed_from": trainer.resumed_from,
        "types": sorted({str(weight.dtype) for weight in model.parameters()}),
    }
    return figures, losses
