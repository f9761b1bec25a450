"""The parts of `benchmarks.gpu`: each gives plain numbers, and runs on a CPU at the tiny shape.

A parity is between the CPU in float32 or float64 and the device; a speed is the median of a few
runs after warming up. MFU is the least arithmetic of a step (`training_flops`) over the peak of
matrix products that the part `environment` measured in the same run.
"""

import os
import statistics
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.parts.problems import Padded, batch_of, make_task, padded, plain_step
from benchmarks.parts.shapes import (
    BOS,
    EOS,
    MASK,
    PAD,
    SHAPES,
    Shape,
    new_adapted_model,
    new_model,
    random_ids,
)
from diffutron.config.params import load_params
from diffutron.data.token_store import Samples, read_documents
from diffutron.diffusion.likelihood.any_order import score_continuations
from diffutron.diffusion.process.loss import masked_diffusion
from diffutron.diffusion.process.noise import uniform
from diffutron.diffusion.sampling.denoise import denoise
from diffutron.diffusion.sampling.settings import Settings
from diffutron.modeling import attention as packed
from diffutron.modeling.flops import matmul_peak, training_flops
from diffutron.modeling.head import logits_fn, logprob_fn, run_encoder, unwrap_masked_lm
from diffutron.modeling.packing import attention_masks
from diffutron.training.batches import GlobalBatch, Layout, MicroBatch, TrainingSet, training_batch
from diffutron.training.checkpoint import ROOT, Checkpoints
from diffutron.training.ranks import training_process
from diffutron.training.trainer import MaskedLoss, Trainer

HALF = torch.bfloat16
NANO = Shape(1000, 64, 4, 4, 96, 8)  # of a dry run
SMALL = Shape(2000, 128, 6, 4, 192, 16)  # of the parities
MEDIUM = Shape(32_000, 384, 12, 6, 768, 64)  # of the short training
MEMORY_SHARE = 0.85  # of the free memory, for the batch of the part `step`


@dataclass
class Run:
    """What the parts share, and what they have found so far.

    partial: what the part at work has found, kept if it fails.
    """

    device: torch.device
    tiny: bool
    deadline: float
    out: Path
    corpus: Path | None = None
    scratch: Path = Path()
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    partial: dict[str, Any] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def shape(self) -> Shape:
        return NANO if self.tiny else SHAPES["307m"]

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights in a training."""
        return HALF if self.on_gpu else torch.float32

    def wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()

    def mfu(self, flops: float, milliseconds: float) -> float | None:
        peak = self.found.get("environment", {}).get("peak_flops")
        return None if peak is None else round(flops / milliseconds * 1e3 / peak, 4)

    def timed(self, step: Callable[[], object], *, warm: int = 2, repeats: int = 5) -> dict:
        """Milliseconds (median and best), and GiB above what was held before."""
        for _ in range(warm):
            step()
        self.wait()
        held = 0
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()
            held = torch.cuda.memory_allocated()
        taken = []
        for _ in range(repeats):
            started = time.perf_counter()
            step()
            self.wait()
            taken.append(1e3 * (time.perf_counter() - started))
        found = {"ms": round(statistics.median(taken), 3), "best_ms": round(min(taken), 3)}
        if self.on_gpu:
            found["peak_gib"] = round((torch.cuda.max_memory_allocated() - held) / 2**30, 3)
        return found


def environment(run: Run) -> dict[str, Any]:
    """Versions, and the speeds that everything else is held against."""
    import deepspeed
    import peft
    import transformers

    libraries = (torch, transformers, peft, deepspeed)
    found: dict[str, Any] = {library.__name__: library.__version__ for library in libraries}
    found["device"] = torch.cuda.get_device_name() if run.on_gpu else "cpu"
    found["peak_flops"] = matmul_peak(str(run.device))
    side = 512 if run.tiny else 4096
    wide = torch.randn(side, side, device=run.device)
    found["peak_float32_flops"] = 2 * side**3 / run.timed(lambda: wide @ wide)["best_ms"] * 1e3
    bytes_ = torch.empty(2 ** (22 if run.tiny else 31), dtype=torch.uint8, device=run.device)
    copied = torch.empty_like(bytes_)
    seconds = run.timed(lambda: copied.copy_(bytes_))["best_ms"] / 1e3
    found["copy_bytes_per_s"] = 2 * bytes_.numel() / seconds
    if run.on_gpu:
        free, total = torch.cuda.mem_get_info()
        found |= {"memory_gib": round(total / 2**30, 1), "free_gib": round(free / 2**30, 1)}
    return found


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
        [one.logprob for one in _scores(model.to(device), device, choices=6, shape=NANO)]
        for device in (torch.device("cpu"), run.device)
    ]
    found["largest_score_difference"] = float(np.abs(np.subtract(*values)).max())
    return found


def _scores(model: nn.Module, device: torch.device, *, choices: int, shape: Shape) -> list[Any]:
    """Continuations of one to three tokens, four of each context."""
    items = []
    for number in range(choices):
        context = [BOS, *random_ids(40, shape=shape, seed=number // 4).tolist()]
        items.append((context, random_ids(1 + number % 3, shape=shape, seed=number).tolist()))
    return score_continuations(
        logprob_fn(model, mask_token_id=MASK),
        items,
        mask_token_id=MASK,
        pad_token_id=PAD,
        max_rows=32,
        batch_rows=256,
        device=device,
    )


def attention(run: Run) -> dict[str, Any]:
    """The kernel for packed rows against attention with masks: states, gradients, the window."""
    if not run.on_gpu:
        return {"skipped": "the kernel needs a GPU"}
    model: Any = new_model(SMALL).train().to(run.device, HALF)
    packed.use_packed_attention(model)
    micro = _batch(SMALL, 4000).micro_batches[0].to(run.device)
    masks = attention_masks(micro.segment, window=model.config.sliding_window)
    by_masks = run_encoder(model, micro.noisy_ids, masks, micro.position_ids)
    _, row = packed.unpadded(micro.noisy_ids, micro.position_ids, micro.segment)
    by_kernel = run_encoder(model, **row)[0]
    by_masks = by_masks.flatten(0, 1)[micro.segment.flatten() >= 0]
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
    batch = _batch(SMALL, 4000)
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


def _lengths(tokens: int, *, mean: int = 224, longest: int = 512) -> list[int]:
    """Lengths of documents, lognormal as those of web text are, of so many tokens together."""
    drawn = np.random.default_rng(0).lognormal(np.log(mean) - 0.3, 0.75, 4 * tokens // mean + 8)
    lengths = np.clip(drawn.astype(int), 8, longest)
    return lengths[: max(1, int((np.cumsum(lengths) <= tokens).sum()))].tolist()


def _batch(shape: Shape, tokens: int) -> GlobalBatch:
    return batch_of(make_task(_lengths(tokens), shape, seed=5), packed_length=512)


def _whole(shape: Shape, tokens: int) -> tuple[MicroBatch, GlobalBatch]:
    """All samples of a batch in one micro-batch."""
    task = make_task(_lengths(tokens), shape, seed=5)
    layout = Layout(512, 1_000_000, 0, 1)
    batch = training_batch(task, 0, batch_size=len(task.samples), layout=layout)
    return batch.micro_batches[0], batch


def step(run: Run) -> dict[str, Any]:
    """Forward and backward at the shape of mmBERT-base: the plain way, ours, and its variants.

    The batch fills the memory; the plain way takes a quarter of it, as it keeps all logits.
    """
    tokens = _lora_steps(run)
    _full_steps(run, tokens)
    return run.partial


def _lora_steps(run: Run) -> int:
    """The steps with adapters; the number of tokens that fits the memory."""
    model = new_adapted_model(run.shape).to(run.device, run.dtype)
    loss = MaskedLoss(model, mask_token_id=MASK)
    tokens = _tokens_that_fit(run, loss)
    micro, batch = _whole(run.shape, tokens)
    micro = micro.to(run.device)

    def ours() -> None:
        loss(micro).backward()

    _record(run, "ours_lora", model, ours, batch)
    _record(run, "ours_lora_encoder", model, lambda: loss._hidden(micro).sum().backward(), batch)
    theirs, few = _plain_batch(run, tokens // 4)
    _record(run, "plain_lora", model, lambda: plain_step(model, theirs), few)
    if run.on_gpu:
        _profile(run, ours)
        for layer in unwrap_masked_lm(model).model.layers:
            layer.mlp.compile(dynamic=True)
            layer.attn_norm.compile(dynamic=True)
        _record(run, "ours_lora_compiled", model, ours, batch)
    return tokens


def _full_steps(run: Run, tokens: int) -> None:
    """The steps with all weights trainable, on documents and on a few answers."""
    model = new_model(run.shape).train().to(run.device, run.dtype)
    loss = MaskedLoss(model, mask_token_id=MASK)
    sizes = {"ours_full": tokens, "ours_full_16_answers": 1440, "ours_full_64_answers": 5760}
    for name, size in sizes.items():
        micro, batch = _whole(run.shape, size)
        moved = micro.to(run.device)
        _record(run, name, model, lambda moved=moved: loss(moved).backward(), batch)
    theirs, few = _plain_batch(run, tokens // 4)
    _record(run, "plain_full", model, lambda: plain_step(model, theirs), few)


def _record(
    run: Run, name: str, model: nn.Module, part: Callable[[], object], batch: GlobalBatch
) -> None:
    """Time a step, or note that its batch does not fit the memory."""
    try:
        one = run.timed(part)
    except torch.OutOfMemoryError:
        run.partial[name] = {"out_of_memory": batch.num_tokens}
        return
    finally:
        model.zero_grad(set_to_none=True)
    flops = training_flops(
        model,
        tokens=batch.num_tokens,
        masked=batch.num_masked,
        attended=batch.num_attended(unwrap_masked_lm(model).config.sliding_window),
    )
    run.partial[name] = one | {
        "tokens": batch.num_tokens,
        "tokens_per_s": round(batch.num_tokens / one["ms"] * 1e3),
        "mfu": run.mfu(flops, one["ms"]),
    }


def _tokens_that_fit(run: Run, loss: MaskedLoss) -> int:
    """By the memory of a smaller batch; a power of two."""
    if not run.on_gpu:
        return 512
    micro, batch = _whole(run.shape, 8192)
    micro = micro.to(run.device)
    taken = run.timed(lambda: loss(micro).backward(), warm=1, repeats=1)["peak_gib"] * 2**30
    loss.zero_grad(set_to_none=True)
    free = MEMORY_SHARE * torch.cuda.mem_get_info()[0]
    return 2 ** int(np.log2(free / taken * batch.num_tokens))


def _plain_batch(run: Run, tokens: int) -> tuple[Padded, GlobalBatch]:
    task = make_task(_lengths(tokens), run.shape, seed=5)
    theirs = vars(padded(task))
    moved = {k: v.to(run.device) if torch.is_tensor(v) else v for k, v in theirs.items()}
    return Padded(**moved), batch_of(task, packed_length=512)


def _profile(run: Run, part: Callable[[], object]) -> None:
    """The kernels of a step by their time, into `profile.txt`."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as taken:
        part()
        run.wait()
    table = taken.key_averages().table(sort_by="self_cuda_time_total", row_limit=45)
    (run.out / "profile.txt").write_text(table, encoding="utf-8")


def host_waits(run: Run) -> dict[str, Any]:
    """Where the host waits for the device in a step: places in the code, and how often."""
    model = new_adapted_model(NANO if run.tiny else SMALL).to(run.device, run.dtype)
    loss = MaskedLoss(model, mask_token_id=MASK)
    micro = _batch(NANO if run.tiny else SMALL, 2000).micro_batches[0]
    if not run.on_gpu:
        loss(micro).backward()
        return {"skipped": "a CPU does not wait"}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            loss(micro.to(run.device)).backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = Counter(
        f"{one.filename.split('site-packages/')[-1]}:{one.lineno}"
        for one in said
        if "synchroniz" in str(one.message)
    )
    return {"waits": sum(places.values()), "places": dict(places.most_common(20))}


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
    task = make_task(_lengths(20_000 if run.tiny else 400_000), shape, seed=5)
    changes = {
        "steps": 18, "batch_size": 2 if run.tiny else 16, "packed_length": 512,
        "micro_batch_rows": 4,
        "learning_rate": 1e-4, "zero_stage": stage, "checkpoint_every": 10,
        "evaluate_every": 18, "evaluate_samples": 16,
    }  # fmt: skip
    model = (new_adapted_model if adapted else new_model)(shape).train()
    with training_process() as ranks:
        trainer = _trainer(run, name, model, task, task.samples.first(16), changes, ranks)
        if stop_at is not None:
            plain = trainer._step

            def stepping(number: int) -> None:
                if number == stop_at:
                    raise Stopped
                plain(number)

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


def _trainer(
    run: Run,
    name: str,
    model: nn.Module,
    task: TrainingSet,
    heldout: Samples,
    changes: dict[str, Any],
    ranks: Any,
) -> Trainer:
    os.environ[ROOT] = str(run.scratch / "checkpoints")
    params = load_params().pretrain.training.model_copy(update=changes)
    checkpoints = Checkpoints(name, ranks, zero_stage=params.zero_stage)
    return Trainer(
        model, task, task.with_samples(heldout), params, ranks, name=name, checkpoints=checkpoints
    )


def sampling(run: Run) -> dict[str, Any]:
    """Denoising steps per second and new tokens per second, at 1, 16 and 64 rows."""
    found = run.partial
    steps = 4 if run.tiny else 32
    for dtype in (torch.float32, HALF):
        model = new_model(run.shape).to(run.device, dtype)
        for rows in (1, 4) if run.tiny else (1, 16, 64):
            canvas = [BOS, *random_ids(63, shape=run.shape, seed=1).tolist(), *[MASK] * steps]

            def answer(canvases: list[list[int]] = [canvas] * rows, model: Any = model) -> object:
                return denoise(
                    logits_fn(model, mask_token_id=MASK),
                    canvases,
                    mask_token_id=MASK,
                    pad_token_id=PAD,
                    settings=Settings(num_steps=steps, block_length=steps),
                    batch_rows=64,
                    device=run.device,
                )

            one = run.timed(answer, warm=1, repeats=1 if run.tiny else 3)
            found[f"{str(dtype)[6:]}_{rows}_rows"] = one | {
                "ms_per_step": round(one["ms"] / steps, 3),
                "tokens_per_s": round(rows * steps / one["ms"] * 1e3),
            }
        del model
    return found


def scoring(run: Run) -> dict[str, Any]:
    """Continuations per second, and how far bf16 is from float32, in nats."""
    found, values = run.partial, []
    choices = 16 if run.tiny else 800
    for dtype in (torch.float32, HALF):
        model = new_model(run.shape).to(run.device, dtype)
        _scores(model, run.device, choices=8, shape=run.shape)
        run.wait()
        started = time.perf_counter()
        values.append([
            one.logprob for one in _scores(model, run.device, choices=choices, shape=run.shape)
        ])  # fmt: skip
        run.wait()
        speed = choices / (time.perf_counter() - started)
        found[f"{str(dtype)[6:]}_choices_per_s"] = round(speed, 1)
        del model
    found["largest_difference_of_bf16"] = float(np.abs(np.subtract(*values)).max())
    return found


def training(run: Run) -> dict[str, Any]:
    """Real learning for the time that is left: held-out loss before and after, tokens per second.

    On the documents of `--corpus`, else on made-up ids, in which the next token repeats an earlier
    one often enough to be learned.
    """
    shape = NANO if run.tiny else MEDIUM
    if run.corpus:
        samples, heldout = (
            read_documents(run.corpus, split, max_tokens=512) for split in ("train", "heldout")
        )
    else:
        samples = _made_up(shape, 300 if run.tiny else 20_000)
        heldout = _made_up(shape, 40, seed=1)
    task = TrainingSet(samples, masked_diffusion("linear"), 5, MASK, PAD)
    left = run.deadline - time.monotonic()
    steps = 6 if run.tiny else max(50, int(left * 5))
    changes = {
        "steps": steps, "batch_size": 8 if run.tiny else 128, "packed_length": 512,
        "micro_batch_rows": 4 if run.tiny else 64, "learning_rate": 1e-3, "zero_stage": 1,
        "checkpoint_every": 10**6, "evaluate_every": max(1, steps // 4), "evaluate_samples": 40,
        "ema_decay": 0.99,
    }  # fmt: skip
    model = new_model(shape).train()
    with training_process() as ranks:
        trainer = _trainer(run, "short", model, task, heldout, changes, ranks)
        trainer.run()
        trainer.gather_full_weights()
    state = trainer.state
    return {
        "steps": steps,
        "tokens": state.tokens,
        "tokens_per_s": round(state.tokens / state.seconds),
        "eval_loss_before": state.eval_loss_before,
        "eval_loss": state.eval_loss,
        "skipped_steps": state.skipped_steps,
        "peak_share": trainer.figures()["peak_share"],
    }


def _made_up(shape: Shape, number: int, *, seed: int = 0) -> Samples:
    """Documents whose second half repeats the first."""
    drawn = np.random.default_rng(seed)
    length = 2 * drawn.integers(8, 100, number)
    parts = [drawn.zipf(1.3, half) % (shape.vocab_size - 10) + 6 for half in length // 2]
    ids = np.concatenate([np.tile(part, 2) for part in parts])
    return Samples(ids, np.cumsum(length) - length, length, np.zeros_like(length), length)
