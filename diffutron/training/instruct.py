"""Stages `instruct_phase1` and `instruct_phase2`: learn to answer.

Only answer positions are masked: the answer, its closing marker and the end token, and a short
fill of end tokens after it with a small weight, so that a canvas longer than the answer is filled
with end tokens. Padding is never learned.
"""

from pathlib import Path
from typing import Any

from diffutron.config.params import InstructParams, Params
from diffutron.data.token_store import read_instructions
from diffutron.modeling.encoder import load_model, read_special_ids, save_model
from diffutron.modeling.lora import attach_lora, unload
from diffutron.training.batches import EosFill, TrainingSet
from diffutron.training.pretrain import objective_of
from diffutron.training.ranks import training_process
from diffutron.training.trainer import StageRun, train


def instruct(
    params: Params, phase: int, *, model: Path, instructions: Path, out: Path, metrics: Path
) -> None:
    """Tune `model` on the rows of that phase, all weights or an adapter that is merged after it."""
    name = f"instruct_phase{phase}"
    section: InstructParams = getattr(params, name)
    learn_answers(
        StageRun(name, section, params.seed, (model, instructions), out, metrics),
        section,
        phase,
        model=model,
        rows=instructions,
        description={
            "kind": f"phase{phase}",
            "base": str(model),
            "generation": params.evaluate.generation.model_dump(),
        },
    )


def learn_answers(
    stage: StageRun,
    section: InstructParams,
    phase: int,
    *,
    model: Path,
    rows: Path,
    description: dict[str, Any],
) -> None:
    """Tune `model` on the rows of a phase in the folder `rows`; the tuned one is `stage.out`.

    Args:
        stage: what the run is called, what it depends on, and where it writes.
        section: the parameters of the loss and of the training.
        phase: which rows of the folder are learned.
        model: a checkpoint folder with its tokenizer.
        rows: a folder as the stage `instructions` writes it.
        description: what `diffutron.json` says of the tuned model.
    """
    with training_process() as ranks:
        special = read_special_ids(model)
        lm: Any = load_model(model, made_by="merge" if phase == 1 else "instruct_phase1")
        longest = lm.config.max_position_embeddings
        samples, heldout = (
            read_instructions(rows, phase, split, max_tokens=longest)
            for split in ("train", "heldout")
        )
        data = TrainingSet(
            samples,
            objective_of(section.schedule, section.training.mask_rates, others=section.loss_parts),
            stage.seed,
            special.mask,
            special.pad,
            EosFill(special.eos, section.max_eos_fill, section.eos_fill_weight),
            max_tokens=longest,
            normalize=section.normalize,
        )
        is_lora = section.method == "lora"
        adapted = attach_lora(lm, section.lora, seed=stage.seed) if is_lora else None
        described = {**description, "trained_with_eos": True}

        def save(folder: Path) -> None:
            tuned = unload(adapted) if adapted else lm
            save_model(tuned, folder, tokenizer=model, description=described)

        train(stage, ranks, lm, data, heldout, save)
