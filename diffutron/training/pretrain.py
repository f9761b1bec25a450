"""Stage `pretrain`: LoRA continual pre-training with the masked diffusion objective."""

import time
from pathlib import Path

from diffutron.data.packing import read_documents
from diffutron.modeling.backbone import copy_tokenizer, load_model, read_special_ids
from diffutron.modeling.lora import attach_lora
from diffutron.outputs import atomic_folder, write_json
from diffutron.params import Params
from diffutron.training.batches import Task
from diffutron.training.checkpoint import Checkpoints
from diffutron.training.launch import training_process
from diffutron.training.loop import Training
from diffutron.training.objective import masked_diffusion
from diffutron.training.record import figures, write_record


def pretrain(params: Params, *, backbone: Path, corpus: Path, out: Path, metrics: Path) -> None:
    """Learn an adapter for `backbone` on the corpus; runs in each rank, the first one writes."""
    started = time.monotonic()
    section = params.pretrain
    with training_process() as ranks:
        special = read_special_ids(backbone)
        model = load_model(backbone, made_by="backbone")
        longest = model.config.max_position_embeddings
        heldout = read_documents(corpus, "heldout", max_tokens=longest)
        task = Task(
            samples=read_documents(corpus, "train", max_tokens=longest),
            objective=masked_diffusion(section.schedule),
            seed=params.seed,
            mask_token_id=special.mask,
            pad_token_id=special.pad,
        )
        adapted = attach_lora(model, section.lora, seed=params.seed)
        training = Training(
            model,
            task,
            task.on(heldout.first(section.training.evaluate_samples)),
            section.training,
            ranks,
            name="pretrain",
            checkpoints=Checkpoints.of_stage(
                "pretrain", section, ranks, seed=params.seed, inputs=(backbone, corpus)
            ),
        )
        training.run()
        training.settle()
        values = figures(training)
        if ranks.is_first:
            adapted.peft_config["default"].base_model_name_or_path = str(backbone)
            with atomic_folder(out) as folder:
                adapted.save_pretrained(str(folder), save_embedding_layers=False)
                copy_tokenizer(backbone, folder)
                write_json(
                    folder / "diffutron.json",
                    {"kind": "adapter", "base": str(backbone), "trained_with_eos": True},
                )
            write_record(metrics, {"seconds": time.monotonic() - started, **values}, training)
        training.checkpoints.remove()
