"""Peers' own code beside ours, on the same tokens: a training step, sampling, likelihoods.

    git clone https://github.com/ML-GSAI/LLaDA
    git clone https://github.com/ZHZisZZ/dllm
    git clone https://github.com/Diffutron/dllm fork        # which trained the published models
    OMP_NUM_THREADS=1 python -m benchmarks.peers --llada LLaDA --dllm dllm --fork fork --shape tiny

A peer's code runs as it lies in its folder, on the model that transformers and PEFT make. Cases:

    train_padded      a LoRA step on eight rows of 51 % padding; ours packs them (dLLM, fork)
    train_even        a LoRA step on four rows of 256 tokens, without padding (dLLM, fork)
    greedy, t1        an answer of 32 tokens in 32 steps, temperature 0 and 1 (LLaDA)
    choice1           four choices of one token, at LLaDA's default of 128 draws each
    choice1_one_draw  the same at the one draw that suffices for one token
    choice3           four choices of three tokens, at its default of 128 draws

`speedup` is their time over ours, by the median of rounds in turn and changing order. Of the 128
draws a batch of 16 is timed and counted eight times, since each batch costs the same. Both sides
draw their own noise, so values are not compared. A case is given `--seconds`: it takes as many
rounds as fit, and one that fails or hangs has the key `error` and leaves the others alone.
"""

import argparse
import contextlib
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import nn

from benchmarks.likelihood import DRAWS, choices, our_scores
from benchmarks.packing import LONGEST, instruction_lengths
from benchmarks.parts.bounded import FAULTS, fault, limit
from benchmarks.parts.measure import compare
from benchmarks.parts.problems import batch_of, make_task, our_step
from benchmarks.parts.shapes import (
    BOS,
    MASK,
    PAD,
    SHAPES,
    Shape,
    new_adapted_model,
    new_pair,
    random_ids,
)  # fmt: skip
from diffutron.diffusion.sampling.denoise import denoise
from diffutron.diffusion.sampling.settings import Settings
from diffutron.modeling.head import logits_fn
from diffutron.training.trainer import MaskedLoss

STEPS = 32
PROMPT = 64
BATCH = 16  # LLaDA's default of rows a batch
PEERS = {
    "llada": "https://github.com/ML-GSAI/LLaDA",
    "dllm": "https://github.com/ZHZisZZ/dllm",
    "fork": "https://github.com/Diffutron/dllm",
}
Work = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """Both sides of a comparison, made when it begins; scale: how often theirs would be run."""

    name: str
    peer: str
    make: Callable[[], tuple[Work, Work]]
    scale: float = 1.0


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, url in PEERS.items():
        parser.add_argument(f"--{name}", type=Path, help=f"the folder of a clone of {url}")
    parser.add_argument("--shape", choices=SHAPES, default="tiny")
    parser.add_argument("--repeats", type=int, default=5, help="rounds at the most")
    parser.add_argument("--seconds", type=float, default=120.0, help="for each case")
    parser.add_argument("--only", default="", help="cases, separated by commas")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    given = parser.parse_args(arguments)
    folders: dict[str, Path | None] = {name: getattr(given, name) for name in PEERS}
    if not any(folders.values()):
        needed = "; ".join(f"--{name} FOLDER: git clone {url}" for name, url in PEERS.items())
        parser.error(f"no folder of a peer is given, so there is nothing to compare with. {needed}")
    out, failed = sys.stdout, False
    with contextlib.redirect_stdout(sys.stderr):
        for row in rows(folders, given):
            failed |= "error" in row
            text = json.dumps(row) if given.json else "  ".join(f"{k} {v}" for k, v in row.items())
            print(text, file=out, flush=True)
    if failed:
        raise SystemExit(1)


def rows(folders: dict[str, Path | None], given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What each case found, and which peers were left out."""
    for name, folder in folders.items():
        if folder is None:
            yield {"peer": name, "left_out": f"no --{name} FOLDER; git clone {PEERS[name]}"}
            continue
        for case in cases_of(name, folder, SHAPES[given.shape]):
            if given.only and case.name not in given.only.split(","):
                continue
            row = {"case": case.name, "peer": case.peer, "commit": commit_of(folder)}
            row |= measured(case, repeats=given.repeats, seconds=given.seconds)
            yield row | {"shape": given.shape, "threads": torch.get_num_threads()}


def commit_of(folder: Path) -> str | None:
    """Of a clone; None of files that lie there without git."""
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def measured(case: Case, *, repeats: int, seconds: float) -> dict[str, Any]:
    """The figures of a case, or its fault."""
    started = time.monotonic()
    try:
        with limit(seconds):
            theirs, ours = case.make()
            warm = time.monotonic()
            theirs()
            ours()
            now = time.monotonic()
            left, once = seconds - (now - started), 1.3 * (now - warm)
            rounds = min(repeats, max(1, int(left / once)))
            found = compare(case.name, theirs, ours, repeats=rounds, scale=case.scale)
    except FAULTS as error:
        return {"error": fault(error)}
    return {
        "speedup": round(case.scale * found.plain.median / found.ours.median, 3),
        "speedup_range": [round(min(found.ratios), 3), round(max(found.ratios), 3)],
        "their_seconds": round(case.scale * found.plain.median, 4),
        "our_seconds": round(found.ours.median, 4),
        "rounds": rounds,
    }


def cases_of(peer: str, folder: Path, shape: Shape) -> Iterator[Case]:
    """What is compared with a peer."""
    if peer == "llada":
        for name, temperature in (("greedy", 0.0), ("t1", 1.0)):
            yield Case(name, peer, partial(sampling, folder, shape, temperature))
        yield Case("choice1", peer, partial(choice, folder, shape, 1, BATCH), 4 * DRAWS / BATCH)
        yield Case("choice1_one_draw", peer, partial(choice, folder, shape, 1, 1), 4)
        yield Case("choice3", peer, partial(choice, folder, shape, 3, BATCH), 4 * DRAWS / BATCH)
        return
    for name, sizes in (("train_padded", instruction_lengths()), ("train_even", [256] * 4)):
        yield Case(name, peer, partial(training, folder, shape, sizes))


def training(folder: Path, shape: Shape, sizes: list[int]) -> tuple[Work, Work]:
    """Forward and backward of a LoRA step; theirs on rows padded to the longest."""
    trainer = trainer_of(folder)
    model = new_adapted_model(shape)
    loss = MaskedLoss(new_adapted_model(shape), mask_token_id=MASK)
    task = make_task(sizes, shape, seed=0)
    ids = torch.from_numpy(task.samples.ids).long().split(sizes)
    padded = nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=PAD)
    real = torch.arange(padded.shape[1]) < torch.tensor(sizes)[:, None]
    inputs = {"input_ids": padded, "attention_mask": real.long()}
    inputs["labels"] = padded.masked_fill(~real, -100)
    batch = batch_of(task, packed_length=LONGEST)

    def theirs() -> None:
        model.zero_grad(set_to_none=True)
        trainer.compute_loss(model, inputs).backward()

    return theirs, lambda: our_step(loss, batch)


def sampling(folder: Path, shape: Shape, temperature: float) -> tuple[Work, Work]:
    """One token a step, the surest first, in one block."""
    generate = module_of(folder / "generate.py").generate
    models = new_pair(shape)
    prompt = [BOS, *random_ids(PROMPT - 1, shape=shape, seed=1).tolist()]
    settings = Settings(num_steps=STEPS, block_length=STEPS, temperature=temperature)

    def theirs() -> object:
        return generate(
            models.plain,
            torch.tensor([prompt]),
            steps=STEPS,
            gen_length=STEPS,
            block_length=STEPS,
            temperature=temperature,
            mask_id=MASK,
        )

    def ours() -> object:
        return denoise(
            logits_fn(models.ours, mask_token_id=MASK),
            [[*prompt, *[MASK] * STEPS]],
            mask_token_id=MASK,
            pad_token_id=PAD,
            settings=settings,
        )

    return theirs, ours


def choice(folder: Path, shape: Shape, size: int, draws: int) -> tuple[Work, Work]:
    """Theirs is timed on one choice and one batch of `draws`, ours on all four choices."""
    estimate = module_of(folder / "get_log_likelihood.py").get_log_likelihood
    models = new_pair(shape)
    items = choices(4, size, shape)
    context, answer = (torch.tensor(ids) for ids in items[0])

    def theirs() -> object:
        return estimate(models.plain, context, answer, mc_num=draws, batch_size=draws, mask_id=MASK)

    return theirs, lambda: our_scores(models.ours, items)


def module_of(file: Path) -> ModuleType:
    """A file of a peer as a module."""
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such file; is this the peer's folder?")
    spec = importlib.util.spec_from_file_location(f"peer_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def trainer_of(folder: Path) -> Any:
    """dLLM's MDLMTrainer, as far as its loss needs it: metrics and options are left out."""
    import transformers

    for name in [name for name in sys.modules if name.split(".")[0] == "dllm"]:
        del sys.modules[name]  # of the other of dLLM and its fork
    if not (folder / "dllm/core/trainers/mdlm.py").is_file():
        raise FileNotFoundError(f"{folder}: there is no dllm/core/trainers/mdlm.py in it")
    for name in ("dllm", "dllm.core", "dllm.core.trainers", "dllm.utils"):
        package = ModuleType(name)
        package.__path__ = [str(folder / name.replace(".", "/"))]
        sys.modules[name] = package
    left_out = {
        "dllm.utils.configs": {"TrainingArguments": transformers.TrainingArguments},
        "dllm.utils.data": {"prepend_bos": None},
        "dllm.core.trainers.utils": {
            "NLLMetric": object, "PPLMetric": object, "OnEvaluateMetricsCallback": object,
        },
    }  # fmt: skip
    for name, values in left_out.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(values)
    theirs = importlib.import_module("dllm.core.trainers.mdlm")
    trainer = object.__new__(theirs.MDLMTrainer)
    vars(trainer).update(
        processing_class=SimpleNamespace(padding_side="right", mask_token_id=MASK),
        scheduler=theirs.LinearAlphaScheduler(),
        time_epsilon=1e-3,
        loss_weight_type="scheduler",
        loss_norm_type="token",
        right_shift_logits=False,
        meter=SimpleNamespace(update=lambda **values: None),
    )
    return trainer


if __name__ == "__main__":
    main()
