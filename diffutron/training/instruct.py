"""Stages `instruct_phase1` and `instruct_phase2`: learn to answer.

Only answer positions are masked: the answer, its closing marker and the end token, and a short
fill of end tokens after it with a small weight, so that a canvas longer than the answer is filled
with end tokens. Padding is never learned.
"""

import time
from pathlib import Path
from typing import Any

from diffutron.config.params import InstructParams, Params
from diffutron.data.token_store import read_instructions
from diffutron.modeling.encoder import load_model, read_special_ids, save_model
from diffutron.modeling.lora import attach_lora, unload
from diffutron.training.batches import EosFill, Task
from diffutron.training.objective import masked_diffusion
from diffutron.training.ranks import training_process
from diffutron.training.train_stage import train_stage


def instruct(
    params: Params, phase: int, *, model: Path, instructions: Path, out: Path, metrics: Path
) -> None:
    """Tune `model` on the rows of that phase, all weights or an adapter that is merged after it."""
    started, name = time.monotonic(), f"instruct_phase{phase}"
    section: InstructParams = getattr(params, name)
    with training_process() as ranks:
        special = read_special_ids(model)
        lm: Any = load_model(model, made_by="merge" if phase == 1 else "instruct_phase1")
        longest = lm.config.max_position_embeddings
        task = Task(
            samples=read_instructions(instructions, phase, "train", max_tokens=longest),
            objective=masked_diffusion(section.schedule, mask_rate=section.mask_rate),
            seed=params.seed,
            mask_token_id=special.mask,
            pad_token_id=special.pad,
            eos_fill=EosFill(special.eos, section.max_eos_fill, section.eos_fill_weight),
            max_tokens=longest,
        )
        is_lora = section.method == "lora"
        adapted = attach_lora(lm, section.lora, seed=params.seed) if is_lora else None
        description = {
            "kind": f"phase{phase}",
            "base": str(model),
            "trained_with_eos": True,
            "generation": params.evaluate.generation.model_dump(),
        }

        def save(folder: Path) -> None:
            tuned = unload(adapted) if adapted else lm
            save_model(tuned, folder, tokenizer=model, description=description)

        train_stage(
            name,
            section,
            ranks,
            model=lm,
            task=task,
            heldout=read_instructions(instructions, phase, "heldout", max_tokens=longest),
            seed=params.seed,
            inputs=(model, instructions),
            out=out,
            metrics=metrics,
            save=save,
            started=started,
        )
