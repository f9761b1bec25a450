"""Stage `pretrain`: LoRA continual pre-training with the masked diffusion objective."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffutron.config.params import Params
from diffutron.config.training_params import MaskRates, ScheduleParams
from diffutron.data.token_store import read_documents
from diffutron.diffusion.process.loss import Objective, masked_diffusion
from diffutron.modeling.encoder import copy_tokenizer, load_model, read_special_ids
from diffutron.modeling.lora import attach_lora
from diffutron.runtime.files import write_json
from diffutron.training.batches import TrainingSet
from diffutron.training.ranks import training_process
from diffutron.training.trainer import StageRun, train


def pretrain(params: Params, *, backbone: Path, corpus: Path, out: Path, metrics: Path) -> None:
    """Learn an adapter for `backbone` on the corpus; runs in each rank, the first one writes."""
    section = params.pretrain
    stage = StageRun("pretrain", section, params.seed, (backbone, corpus), out, metrics)
    with training_process() as ranks:
        special = read_special_ids(backbone)
        model = load_model(backbone, made_by="backbone")
        samples, heldout = (
            read_documents(corpus, split, max_tokens=model.config.max_position_embeddings)
            for split in ("train", "heldout")
        )
        objective = objective_of(section.schedule, section.training.mask_rates)
        data = TrainingSet(samples, objective, params.seed, special.mask, special.pad)
        adapted = attach_lora(model, section.lora, seed=params.seed)

        def save(folder: Path) -> None:
            adapted.peft_config["default"].base_model_name_or_path = str(backbone)
            adapted.save_pretrained(str(folder), save_embedding_layers=False)
            copy_tokenizer(backbone, folder)
            write_json(
                folder / "diffutron.json",
                {"kind": "adapter", "base": str(backbone), "trained_with_eos": True},
            )

        train(stage, ranks, model, data, heldout, save)


def objective_of(
    schedule: ScheduleParams, mask_rates: MaskRates, *, others: Sequence[str] = ()
) -> Objective:
    """The objective of a schedule as params.yaml gives it: a name, or a name with its range."""
    own: dict[str, Any] = {"name": schedule} if isinstance(schedule, str) else schedule.model_dump()
    return masked_diffusion(
        **own, mask_rates=mask_rates.bounds, shape=mask_rates.shape, others=others
    )
