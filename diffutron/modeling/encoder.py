"""The encoder: a ModernBERT masked language model, new or from a folder, in plain HF form."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffutron.config.params import BackboneParams
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import require_folder, write_json

if TYPE_CHECKING:
    from torch import nn
    from transformers import ModernBertConfig, ModernBertForMaskedLM

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)


@dataclass(frozen=True)
class SpecialIds:
    """Ids that a configuration and the training need."""

    pad: int
    bos: int
    eos: int
    mask: int
    vocab_size: int


def read_special_ids(folder: Path) -> SpecialIds:
    """Special ids of a tokenizer folder, read from its files alone."""
    try:
        tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        added = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
        vocab = tokenizer["model"]["vocab"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder}: no readable tokenizer ({error}); run the stage `tokenizer` again"
        ) from None
    ids: dict[str, int] = {}
    for name in ("pad", "bos", "eos", "mask"):
        token = _special_token(config, name)
        if token not in added:
            raise UserError(
                f"{folder}: the tokenizer has no {name} token, which a masked diffusion model "
                "needs; choose a tokenizer with pad, bos, eos and mask tokens"
            )
        ids[name] = added[token]
    return SpecialIds(**ids, vocab_size=max(len(vocab), 1 + max(added.values())))


def _special_token(config: dict[str, Any], name: str) -> str | None:
    """BERT-style tokenizers name their begin and end tokens cls and sep."""
    other = {"bos": "cls", "eos": "sep"}.get(name, name)
    token = config.get(f"{name}_token") or config.get(f"{other}_token")
    return token["content"] if isinstance(token, dict) else token


def scratch_config(params: BackboneParams, special: SpecialIds) -> "ModernBertConfig":
    """The configuration of a new encoder; every id is given, as the defaults lie outside a small
    vocabulary.
    """
    from transformers.models.modernbert.configuration_modernbert import ModernBertConfig

    shape: dict[str, Any] = {"global_attn_every_n_layers": params.global_attn_every_n_layers}
    return ModernBertConfig(
        vocab_size=special.vocab_size,
        hidden_size=params.hidden_size,
        intermediate_size=params.intermediate_size,
        num_hidden_layers=params.num_layers,
        num_attention_heads=params.num_heads,
        max_position_embeddings=params.max_position_embeddings,
        local_attention=params.local_attention,
        initializer_range=params.initializer_range,
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
        model = ModernBertForMaskedLM(config)
        for layer in model.model.layers:
            start_from_identity(layer.attn, *params.attention_identity)
        with torch.no_grad():
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
    import torch
    from safetensors import SafetensorError
    from transformers.models.modernbert.modeling_modernbert import ModernBertForMaskedLM

    require_folder(folder, made_by=made_by)
    try:
        loaded: Any = ModernBertForMaskedLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="sdpa", output_loading_info=True
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(
            f"{folder}: no readable masked language model ({error}); run `{made_by}` again"
        ) from None
    model, report = loaded
    if lost := sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"])):
        raise UserError(
            f"{folder}: {len(lost)} weights are missing or of another shape, {lost[0]} first; "
            f"need a ModernBertForMaskedLM checkpoint, from `{made_by}`"
        )
    return model


def save_model(
    model: "nn.Module",
    folder: Path,
    *,
    tokenizer: Path,
    description: dict[str, Any],
    state_dict: dict[str, Any] | None = None,
) -> None:
    """A plain HF folder (safetensors), the tokenizer files beside it, and `diffutron.json`."""
    model.save_pretrained(folder, state_dict=state_dict)  # type: ignore[operator]
    copy_tokenizer(tokenizer, folder)
    write_json(folder / "diffutron.json", description)


def copy_tokenizer(source: Path, folder: Path) -> None:
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def count_parameters(model: "nn.Module") -> dict[str, int | float]:
    """All parameters (tied ones once), the trainable ones, and their share."""
    # A ZeRO-3 weight is in pieces and knows its whole size.
    sizes = [(getattr(p, "ds_numel", p.numel()), p.requires_grad) for p in model.parameters()]
    total = sum(size for size, _ in sizes)
    trainable = sum(size for size, learns in sizes if learns)
    return {"parameters": total, "trainable": trainable, "trainable_share": trainable / total}
