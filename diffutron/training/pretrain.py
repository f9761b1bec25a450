"""Stage `pretrain`: LoRA continual pre-training with the masked diffusion objective."""

import time
from pathlib import Path

from diffutron.config.params import Params
from diffutron.data.token_store import read_documents
from diffutron.modeling.encoder import copy_tokenizer, load_model, read_special_ids
from diffutron.modeling.lora import attach_lora
from diffutron.runtime.files import write_json
from diffutron.training.batches import Task
from diffutron.training.objective import masked_diffusion
from diffutron.training.ranks import training_process
from diffutron.training.train_stage import train_stage


def pretrain(params: Params, *, backbone: Path, corpus: Path, out: Path, metrics: Path) -> None:
    """Learn an adapter for `backbone` on the corpus; runs in each rank, the first one writes."""
    started = time.monotonic()
    section = params.pretrain
    with training_process() as ranks:
        special = read_special_ids(backbone)
        model = load_model(backbone, made_by="backbone")
        longest = model.config.max_position_embeddings
        task = Task(
            samples=read_documents(corpus, "train", max_tokens=longest),
            objective=masked_diffusion(section.schedule),
            seed=params.seed,
            mask_token_id=special.mask,
            pad_token_id=special.pad,
        )
        adapted = attach_lora(model, section.lora, seed=params.seed)

        def save(folder: Path) -> None:
            adapted.peft_config["default"].base_model_name_or_path = str(backbone)
            adapted.save_pretrained(str(folder), save_embedding_layers=False)
            copy_tokenizer(backbone, folder)
            write_json(
                folder / "diffutron.json",
                {"kind": "adapter", "base": str(backbone), "trained_with_eos": True},
            )

        train_stage(
            "pretrain",
            section,
            ranks,
            model=model,
            task=task,
            heldout=read_documents(corpus, "heldout", max_tokens=longest),
            seed=params.seed,
            inputs=(backbone, corpus),
            out=out,
            metrics=metrics,
            save=save,
            started=started,
        )
