"""The encoder: a ModernBERT masked language model, new or from a folder, in plain HF form."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffutron.config.training_params import BackboneParams
from diffutron.modeling.tokenizer import load_tokenizer
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import require_folder, write_json

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import ModernBertConfig, ModernBertForMaskedLM

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)


POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class SpecialIds:
    """Ids that a configuration and the training need."""

    pad: int
    bos: int
    eos: int
    mask: int
    vocab_size: int


def read_special_ids(folder: Path) -> SpecialIds:
    """Special ids of a tokenizer folder."""
    tokenizer = load_tokenizer(folder)
    ids = {name: getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos", "mask")}
    return SpecialIds(**ids, vocab_size=1 + max(tokenizer.get_vocab().values()))


def scratch_config(params: BackboneParams, special: SpecialIds) -> "ModernBertConfig":
    """The configuration of a new encoder; every id is given, as the defaults lie outside a small
    vocabulary.
    """
    from transformers.models.modernbert.configuration_modernbert import ModernBertConfig

    shape: dict[str, Any] = {
        "global_attn_every_n_layers": params.global_attn_every_n_layers,
        "global_rope_theta": params.global_rope_theta,
    }
    return ModernBertConfig(
        vocab_size=special.vocab_size,
        hidden_size=params.hidden_size,
        intermediate_size=params.intermediate_size,
        num_hidden_layers=params.num_layers,
        num_attention_heads=params.num_heads,
        max_position_embeddings=params.max_position_embeddings,
        local_attention=params.local_attention,
        initializer_range=params.initializer_range,
        classifier_activation=params.head_activation,
        tie_word_embeddings=True,
        pad_token_id=special.pad,
        bos_token_id=special.bos,
        eos_token_id=special.eos,
        cls_token_id=special.bos,
        sep_token_id=special.eos,
        **shape,
    )


def scratch_model(
    params: BackboneParams, special: SpecialIds, *, seed: int
) -> "ModernBertForMaskedLM":
    """A new encoder with seeded weights, float32, scaled-dot-product attention."""
    import torch
    from transformers.models.modernbert.modeling_modernbert import ModernBertForMaskedLM

    config = scratch_config(params, special)
    config._attn_implementation = "sdpa"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = ModernBertForMaskedLM(config)
        with torch.no_grad():
            if params.embedding_range is not None:
                model.model.embeddings.tok_embeddings.weight.normal_(std=params.embedding_range)
            for layer in model.model.layers:
                if params.zero_outputs:
                    layer.attn.Wo.weight.zero_()
                    layer.mlp.Wo.weight.zero_()
                start_from_identity(layer.attn, *params.attention_identity)
            # With tied embeddings the identity says: the token at a position is what stands there.
            model.head.dense.weight.add_(params.head_identity * torch.eye(params.hidden_size))
        return model


def start_from_identity(attention: Any, similar: float, copied: float) -> None:
    """Let a new attention layer look for what is like itself, and pass on what it finds.

    Queries equal keys (`similar` x a random rotation), and the output undoes the values up to the
    factor `copied`; 0 leaves the weights as they are. A small encoder copies words between
    sentences after fewer steps. After mimetic initialization (Trockman and Kolter, arXiv
    2305.09828), here with a positive sign for values times output.
    """
    import torch

    hidden = attention.Wo.weight.shape[0]
    rotations = [torch.linalg.qr(torch.randn(hidden, hidden))[0] for _ in range(2)]
    with torch.no_grad():
        query, key, value = attention.Wqkv.weight.split(hidden)
        if similar:
            query.copy_(similar * rotations[0])
            key.copy_(similar * rotations[0])
        if copied:
            value.copy_(copied**0.5 * rotations[1])
            attention.Wo.weight.copy_(copied**0.5 * rotations[1].T)


def load_model(folder: Path, *, made_by: str) -> "ModernBertForMaskedLM":
    """The masked language model of a folder, in float32; a damaged one is a `UserError`."""
    require_folder(folder, made_by=made_by)
    try:
        return read_model(folder)
    except ValueError as error:
        raise UserError(f"{folder}: {error}; run the stage `{made_by}` again") from None


def read_model(
    source: str | Path, *, dtype: "str | torch.dtype | None" = None
) -> "ModernBertForMaskedLM":
    """The whole masked language model of a folder or a hub name, from safetensors alone.

    dtype: float32 by default.

    Raises:
        ValueError: what is there is unreadable, of another kind, or lacks weights.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig
    from transformers.models.modernbert.modeling_modernbert import ModernBertForMaskedLM

    loaded: Any = None
    try:
        kind = AutoConfig.from_pretrained(source).model_type
        if kind == "modernbert":
            loaded = ModernBertForMaskedLM.from_pretrained(
                source,
                dtype=dtype or torch.float32,
                attn_implementation="sdpa",
                use_safetensors=True,
                output_loading_info=True,
            )
    except SafetensorError as error:
        reason = _damage(Path(source), error)
        raise ValueError(f"the weights are damaged ({reason}); fetch or make them anew") from error
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"no checkpoint can be read there ({reason}); give a folder with config.json and "
            "weights"
        ) from error
    if loaded is None:
        raise ValueError(f"holds a {kind} model; need a modernbert")
    model, report = loaded
    if lost := sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"])):
        is_head = all(name.startswith(("head.", "decoder.")) for name in lost)
        raise ValueError(
            f"the checkpoint has no {'language-model head' if is_head else 'complete weights'} "
            f"({lost[0]} is missing or of another shape"
            f"{f', and {len(lost) - 1} more' if lost[1:] else ''}); "
            "need a ModernBertForMaskedLM checkpoint"
        )
    return model


def _damage(folder: Path, error: Exception) -> str:
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as stream:
            if stream.read(len(POINTER)) == POINTER:
                return f"{file.name} is a pointer of git-lfs: `git lfs pull` fetches the file"
    return str(error).removeprefix("Error while deserializing header: ")


def save_model(
    model: "nn.Module", folder: Path, *, tokenizer: Path, description: dict[str, Any]
) -> None:
    """A plain HF folder (safetensors), the tokenizer files beside it, and `diffutron.json`."""
    model.save_pretrained(folder)  # type: ignore[operator]
    copy_tokenizer(tokenizer, folder)
    write_json(folder / "diffutron.json", description)


def copy_tokenizer(source: Path, folder: Path) -> None:
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def encoder_matrices(lm: Any) -> "list[nn.Parameter]":
    """The trainable matrices between embeddings and vocabulary: those of the layers and the head's
    dense one. No embedding, no decoder and no adapter.
    """
    return [
        weight
        for part in (lm.model.layers, lm.head)
        for name, weight in part.named_parameters()
        if weight.requires_grad and weight.dim() == 2 and "lora_" not in name
    ]


def count_parameters(model: "nn.Module") -> dict[str, int | float]:
    """All parameters (tied ones once), the trainable ones, and their share."""
    # A ZeRO-3 weight is in pieces and knows its whole size.
    sizes = [(getattr(p, "ds_numel", p.numel()), p.requires_grad) for p in model.parameters()]
    total = sum(size for size, _ in sizes)
    trainable = sum(size for size, learns in sizes if learns)
    return {"parameters": total, "trainable": trainable, "trainable_share": trainable / total}
