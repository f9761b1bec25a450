"""Stages `instruct_phase1` and `instruct_phase2`: learn to answer.

Only answer positions are masked: the answer, its closing marker and the end token, and a short
fill of end tokens after it with a small weight, so that a canvas longer than the answer is filled
with end tokens. Padding is never learned. Documents of the corpus may be learned in every batch
beside the answers, by the loss of pre-training, so that the model keeps what it knows of text.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from diffutron.config.params import Params
from diffutron.config.training_params import InstructParams, MaskRates, PhaseParams
from diffutron.data.token_store import read_documents, read_instructions
from diffutron.diffusion.process.loss import Objective
from diffutron.modeling.encoder import SpecialIds, load_model, read_special_ids, save_model
from diffutron.modeling.lora import attach_lora, unload
from diffutron.training.batches import EosFill, Replay, TrainingSet
from diffutron.training.pretrain import objective_of
from diffutron.training.ranks import training_process
from diffutron.training.trainer import StageRun, train

ALL_RATES = MaskRates(low=0.0, high=1.0, shape="uniform")


def instruct(
    params: Params,
    phase: int,
    *,
    model: Path,
    instructions: Path,
    corpus: Path,
    out: Path,
    metrics: Path,
) -> None:
    """Tune `model` on the rows of that phase, all weights or an adapter that is merged after it.

    `corpus` is what is replayed.
    """
    name = f"instruct_phase{phase}"
    section: PhaseParams = getattr(params, name)
    replayed = (corpus,) if section.replay.documents else ()
    learn_answers(
        StageRun(name, section, params.seed, (model, instructions, *replayed), out, metrics),
        section,
        phase,
        model=model,
        rows=instructions,
        corpus=corpus,
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
    corpus: Path | None = None,
) -> None:
    """Tune `model` on the rows of a phase in the folder `rows`; the tuned one is `stage.out`.

    Args:
        stage: what the run is called, what it depends on, and where it writes.
        section: the parameters of the loss and of the training.
        phase: which rows of the folder are learned.
        model: a checkpoint folder with its tokenizer.
        rows: a folder as the stage `instructions` writes it.
        description: what `diffutron.json` says of the tuned model.
        corpus: a folder as the stage `corpus` writes it, of which a phase replays documents.
    """
    with training_process() as ranks:
        special = read_special_ids(model)
        lm: Any = load_model(model, made_by="merge" if phase == 1 else "instruct_phase1")
        longest = lm.config.max_position_embeddings
        samples, heldout = (
            read_instructions(rows, phase, split, max_tokens=longest)
            for split in ("train", "heldout")
        )
        replay = _replay(section, corpus, special, stage.seed, longest)
        data = TrainingSet(
            samples,
            _objective(section, with_replay=replay is not None),
            stage.seed,
            special.mask,
            special.pad,
            EosFill(special.eos, section.max_eos_fill, section.eos_fill_weight),
            max_tokens=longest,
            normalize=section.normalize,
            replay=replay,
        )
        is_lora = section.method == "lora"
        adapted = attach_lora(lm, section.lora, seed=stage.seed) if is_lora else None
        described = {**description, "trained_with_eos": True}

        def save(folder: Path) -> None:
            tuned = unload(adapted) if adapted else lm
            save_model(tuned, folder, tokenizer=model, description=described)

        train(stage, ranks, lm, data, heldout, save)


def _objective(section: InstructParams, *, with_replay: bool) -> Objective:
    """The loss of the answers; held-out ones are measured without what is replayed."""
    rates, parts = section.training.mask_rates, section.loss_parts
    answers = objective_of(section.schedule, rates, others=parts)
    if not with_replay:
        return answers
    both = objective_of(section.schedule, rates, others=[*parts, "with replay"])
    return replace(both, over_all_rates=answers.evaluated)


def _replay(
    section: InstructParams, corpus: Path | None, special: SpecialIds, seed: int, longest: int
) -> Replay | None:
    """The documents that a phase learns again, by the bound over all mask rates."""
    if corpus is None or not isinstance(section, PhaseParams) or not section.replay.documents:
        return None
    documents = read_documents(corpus, "train", max_tokens=longest)
    objective = objective_of(section.schedule, ALL_RATES)
    again = TrainingSet(documents, objective, seed, special.mask, special.pad)
    return Replay(again, section.replay.documents, section.replay.weight)
