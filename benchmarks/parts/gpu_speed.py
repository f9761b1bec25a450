"""The parts of `benchmarks.gpu` that say how fast a GPU is: each runs on a CPU at the tiny shape.

A speed is the median of a few runs after warming up. MFU is the least arithmetic of a step
(`training_flops`) over the peak of matrix products that the part `environment` measured in the
same run.
"""

import contextlib
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import nn

from benchmarks.parts.gpu_run import (
    HALF,
    MEDIUM,
    NANO,
    SMALL,
    Run,
    document_batch,
    lengths,
    new_trainer,
    scores,
    whole_batch,
)
from benchmarks.parts.problems import Padded, batch_of, make_task, padded, plain_step
from benchmarks.parts.shapes import BOS, MASK, PAD, Shape, new_adapted_model, new_model, random_ids
from diffutron.data.token_store import Samples, read_documents
from diffutron.diffusion.process.loss import masked_diffusion
from diffutron.diffusion.sampling.denoise import denoise
from diffutron.diffusion.sampling.settings import Settings
from diffutron.modeling.compiled import compile_layers
from diffutron.modeling.flops import matmul_peak, training_flops
from diffutron.modeling.head import logits_fn, unwrap_masked_lm
from diffutron.training.batches import GlobalBatch, TrainingSet
from diffutron.training.merged_lora import MergedLora
from diffutron.training.ranks import training_process
from diffutron.training.trainer import MaskedLoss

MEMORY_SHARE = 0.8  # of the free memory, for the batch of the part `step`
MOST_TOKENS = 2**17  # of that batch; more takes time and teaches nothing


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


def step(run: Run) -> dict[str, Any]:
    """Forward and backward at the shape of mmBERT-base: the plain way, ours, and its variants.

    The batch fills the memory. The plain way keeps all logits, so it takes the part of the batch
    that it can hold.
    """
    tokens = _lora_steps(run)
    _full_steps(run, tokens)
    return run.partial


def _lora_steps(run: Run) -> int:
    """The steps with adapters; the number of tokens that fits the memory."""
    model: Any = new_adapted_model(run.shape).to(run.device, run.dtype)
    loss = MaskedLoss(model, mask_token_id=MASK)
    layers = list(unwrap_masked_lm(model).model.layers)
    compile_layers(layers)
    started = time.monotonic()
    tokens = _tokens_that_fit(run, loss)
    run.partial["seconds_to_compile"] = round(time.monotonic() - started, 1)
    micro, batch = whole_batch(run.shape, tokens)
    micro = micro.to(run.device)

    def ours() -> None:
        loss(micro).backward()

    _record(run, "ours_lora", model, ours, batch)
    if run.on_gpu:
        with _profiled(run, "profile.txt"):
            ours()
            run.wait()
    encoder = lambda: loss._hidden(micro).sum().backward()  # noqa: E731
    _record(run, "ours_lora_encoder", model, encoder, batch)
    for size in (tokens // 4,):
        part, few = whole_batch(run.shape, size)
        part = part.to(run.device)
        _record(run, f"ours_lora_{size}", model, lambda part=part: loss(part).backward(), few)
    for layer in layers:
        layer._compiled_call_impl = None
    _record(run, "ours_lora_not_compiled", model, ours, batch)
    for module in model.modules():
        if isinstance(module, MergedLora):
            module.__class__ = LoraLinear
    _record(run, "ours_lora_not_merged", model, ours, batch)
    _plain(run, "plain_lora", model, tokens // 4)
    return tokens


def _full_steps(run: Run, tokens: int) -> None:
    """The steps with all weights trainable, on documents and on a few answers."""
    model = new_model(run.shape).train().to(run.device, run.dtype)
    loss = MaskedLoss(model, mask_token_id=MASK)
    compile_layers(model.model.layers)
    sizes = {"ours_full": tokens, "ours_full_16_answers": 1440, "ours_full_64_answers": 5760}
    for name, size in sizes.items():
        micro, batch = whole_batch(run.shape, size)
        moved = micro.to(run.device)
        _record(run, name, model, lambda moved=moved: loss(moved).backward(), batch)
    for layer in model.model.layers:
        layer._compiled_call_impl = None
    _plain(run, "plain_full", model, tokens // 4)


def _plain(run: Run, name: str, model: nn.Module, tokens: int) -> None:
    """The plain way on the largest batch that fits; it attends as transformers does."""
    unwrap_masked_lm(model).set_attn_implementation("sdpa")
    for size in (tokens, tokens // 2, tokens // 4, tokens // 8):
        theirs, few = _plain_batch(run, size)
        _record(run, name, model, lambda theirs=theirs: plain_step(model, theirs), few)
        if "ms" in run.partial[name]:
            return


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
        if run.on_gpu:
            torch.cuda.empty_cache()
    run.partial[name] = one | {
        "tokens": batch.num_tokens,
        "tokens_per_s": round(batch.num_tokens / one["ms"] * 1e3),
        "mfu": run.mfu(_flops(model, batch), one["ms"]),
    }


def _flops(model: nn.Module, batch: GlobalBatch) -> float:
    """The least arithmetic of a step."""
    return training_flops(
        model,
        tokens=batch.num_tokens,
        masked=batch.num_masked,
        attended=batch.num_attended(unwrap_masked_lm(model).config.sliding_window),
    )


def _tokens_that_fit(run: Run, loss: MaskedLoss) -> int:
    """By the memory of a smaller batch; a power of two."""
    if not run.on_gpu:
        return 512
    micro, batch = whole_batch(run.shape, 16_384)
    micro = micro.to(run.device)
    taken = run.timed(lambda: loss(micro).backward(), warm=1, repeats=1)["peak_gib"] * 2**30
    loss.zero_grad(set_to_none=True)
    torch.cuda.empty_cache()
    free = MEMORY_SHARE * torch.cuda.mem_get_info()[0]
    return int(min(free / taken * batch.num_tokens, MOST_TOKENS)) // 8192 * 8192


def _plain_batch(run: Run, tokens: int) -> tuple[Padded, GlobalBatch]:
    task = make_task(lengths(tokens), run.shape, seed=5)
    theirs = vars(padded(task))
    moved = {k: v.to(run.device) if torch.is_tensor(v) else v for k, v in theirs.items()}
    return Padded(**moved), batch_of(task, packed_length=512)


@contextlib.contextmanager
def _profiled(run: Run, name: str) -> Iterator[None]:
    """The kernels of the block by their time, and the host's, into the file of that name."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as taken:
        yield
    tables = [
        taken.key_averages().table(sort_by=by, row_limit=40)
        for by in ("self_cuda_time_total", "self_cpu_time_total")
    ]
    (run.out / name).write_text("\n".join(tables), encoding="utf-8")


def host_waits(run: Run) -> dict[str, Any]:
    """Where the host waits for the device in a step: places in the code, and how often."""
    model = new_adapted_model(NANO if run.tiny else SMALL).to(run.device, run.dtype)
    loss = MaskedLoss(model, mask_token_id=MASK)
    micro = document_batch(NANO if run.tiny else SMALL, 2000).micro_batches[0]
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
        scores(model, run.device, choices=choices, shape=run.shape)  # kernels are loaded now
        run.wait()
        started = time.perf_counter()
        values.append([
            one.logprob for one in scores(model, run.device, choices=choices, shape=run.shape)
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
        trainer = new_trainer(run, "short", model, task, heldout, changes, ranks)
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


# A published stage: adapters, samples of a step, longest, mean length, ZeRO.
PUBLISHED = {
    "pretrain": (True, 256, 512, 224, 2),
    "instruct_phase1": (False, 16, 256, 90, 1),
    "instruct_phase2": (False, 64, 256, 90, 1),
}


def stages(run: Run) -> dict[str, Any]:
    """The training's own step with the batches of the published stages, optimizer included.

    A step is the median of the second half: until then code is compiled.
    """
    for name, published in PUBLISHED.items():
        torch._dynamo.reset()
        run.partial[name] = _stage_steps(run, name, *published)
        if run.on_gpu:
            torch.cuda.empty_cache()
    return run.partial


def _stage_steps(
    run: Run, name: str, adapted: bool, size: int, longest: int, mean: int, zero: int
) -> dict[str, Any]:
    """A short training of the stage; its last step is profiled."""
    number, size = (6, 8) if run.tiny else (20, size)
    drawn = lengths(2 * number * size * mean, mean=mean, longest=longest)
    task = make_task(drawn, run.shape, seed=5)
    changes = {
        "steps": number, "batch_size": size, "packed_length": longest, "zero_stage": zero,
        "micro_batch_rows": 4 if run.tiny else 10**6, "learning_rate": 1e-5,
        "checkpoint_every": 10**6, "evaluate_every": 10**6, "evaluate_samples": 8,
    }  # fmt: skip
    model = (new_adapted_model if adapted else new_model)(run.shape).train()
    taken: list[float] = []
    with training_process() as ranks:
        trainer = new_trainer(run, name, model, task, task.samples.first(8), changes, ranks)
        batches = [trainer._batch(step) for step in range(number)]
        for step, batch in enumerate(batches):
            is_last = run.on_gpu and step == number - 1
            with _profiled(run, f"{name}.txt") if is_last else contextlib.nullcontext():
                started = time.perf_counter()
                trainer._step(step, batch)
                run.wait()
                taken.append(time.perf_counter() - started)
        trainer.engine.destroy()
    settled = taken[number // 2 : -1]
    milliseconds = 1e3 * float(np.median(settled))
    counted = batches[number // 2 : -1]
    tokens = float(np.mean([batch.num_tokens for batch in counted]))
    flops = [_flops(model, batch) for batch in counted]
    return {
        "ms": round(milliseconds, 2),
        "each_ms": [round(1e3 * one) for one in taken],
        "tokens_of_a_step": round(tokens),
        "tokens_per_s": round(tokens / milliseconds * 1e3),
        "mfu": run.mfu(float(np.mean(flops)), milliseconds),
    }


def _made_up(shape: Shape, number: int, *, seed: int = 0) -> Samples:
    """Documents whose second half repeats the first."""
    drawn = np.random.default_rng(seed)
    length = 2 * drawn.integers(8, 100, number)
    parts = [drawn.zipf(1.3, half) % (shape.vocab_size - 10) + 6 for half in length // 2]
    ids = np.concatenate([np.tile(part, 2) for part in parts])
    return Samples(ids, np.cumsum(length) - length, length, np.zeros_like(length), length)
