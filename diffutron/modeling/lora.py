"""LoRA adapters on every linear layer of the encoder (Hu et al., arXiv 2106.09685), by PEFT.

The head and the tied decoder stay as they are: an adapter there would have to change the
embedding matrix as well.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from diffutron.config.training_params import LoraParams
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import require_folder

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn

TARGETS = r"model\.layers\.\d+\.(attn\.(Wqkv|Wo)|mlp\.(Wi|Wo))"


def attach_lora(model: "nn.Module", params: LoraParams, *, seed: int) -> "PeftModel":
    """Adapters of seeded weights on `model`, in place; they alone stay trainable."""
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=params.rank,
        lora_alpha=params.alpha,  # type: ignore[arg-type] PEFT divides: a float serves as well
        lora_dropout=params.dropout,
        target_modules=TARGETS,
    )
    with torch.random.fork_rng(devices=[]), _without_noise():
        torch.manual_seed(seed)
        return get_peft_model(model, config)  # type: ignore[arg-type,return-value]


def merge_lora(model: "nn.Module", adapter: Path) -> "nn.Module":
    """`model` with the adapter of a folder added to its weights: a plain, trainable model again."""
    from peft import PeftModel
    from safetensors import SafetensorError

    require_folder(adapter, made_by="pretrain")
    try:
        with _without_noise():
            adapted = PeftModel.from_pretrained(model, str(adapter))  # type: ignore[arg-type]
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{adapter}: this adapter does not fit the backbone "
            f"({' '.join(str(error).split())[:200]}); run the stage `pretrain` again"
        ) from None
    return unload(adapted)


@contextmanager
def _without_noise() -> Iterator[None]:
    """PEFT asks transformers for an attribute under its old name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
        yield


def unload(adapted: "PeftModel") -> "nn.Module":
    """Adds the adapters to the weights they adapt; PEFT leaves those frozen, which is undone."""
    merged = adapted.merge_and_unload()  # type: ignore[operator]
    merged.requires_grad_(True)
    return merged
