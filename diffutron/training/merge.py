"""Stage `merge`: adapter and base become one plain checkpoint."""

import time
from pathlib import Path

from diffutron.config.params import Params
from diffutron.modeling.encoder import count_parameters, load_model, save_model
from diffutron.modeling.lora import merge_lora
from diffutron.runtime.files import atomic_folder, write_json
from diffutron.training.quiet_deepspeed import import_deepspeed


def merge(params: Params, *, backbone: Path, adapter: Path, out: Path, metrics: Path) -> None:
    """`backbone` with `adapter` added to its weights, as a plain ModernBertForMaskedLM."""
    started = time.monotonic()
    model = merge_lora(load_model(backbone, made_by="backbone"), adapter)
    description = {"kind": "merged", "base": str(backbone), "trained_with_eos": True}
    import_deepspeed()  # accelerate imports it in any case when a model is saved, and noisily
    with atomic_folder(out) as folder:
        save_model(model, folder, tokenizer=backbone, description=description)
    values = {"seconds": time.monotonic() - started, "device": "cpu"}
    write_json(metrics, values | count_parameters(model))
