"""The shapes that are measured, with random weights, and the least arithmetic of a pass."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import ModernBertConfig, ModernBertForMaskedLM

from diffutron.config.training_params import LoraParams
from diffutron.modeling.head import unwrap_masked_lm
from diffutron.modeling.lora import attach_lora

PAD, EOS, BOS, MASK = 0, 1, 2, 4
FIRST_TOKEN = 5  # ids below are special


@dataclass(frozen=True)
class Pair:
    """Two models of equal weights: the plain form's is left as its libraries make it."""

    plain: nn.Module
    ours: nn.Module


@dataclass(frozen=True)
class Shape:
    """Of a ModernBERT encoder with a tied head; `rank` of the adapters that are trained."""

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    rank: int


SHAPES = {
    "tiny": Shape(8192, 256, 6, 4, 384, 64),
    "small": Shape(16_000, 288, 4, 6, 640, 32),  # of the profile
    "middle": Shape(32_000, 384, 12, 6, 768, 64),
    "307m": Shape(256_000, 768, 22, 12, 1152, 256),  # mmBERT-base
}


def new_model(shape: Shape) -> ModernBertForMaskedLM:
    """Seeded random weights, float32, evaluation mode."""
    config = ModernBertConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        intermediate_size=shape.intermediate_size,
        global_attn_every_n_layers=3,
        local_attention=128,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        pad_token_id=PAD,
        eos_token_id=EOS,
        bos_token_id=BOS,
        cls_token_id=BOS,
        sep_token_id=EOS,
    )
    config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    return ModernBertForMaskedLM(config).eval()


def new_pair(shape: Shape) -> Pair:
    return Pair(new_model(shape), new_model(shape))


def new_adapted_model(shape: Shape) -> nn.Module:
    """The same with LoRA on every linear layer of the encoder, as PEFT computes it.

    PEFT starts with one factor at zero, where half of the gradients vanish: here both are random.
    """
    params = LoraParams(rank=shape.rank, alpha=shape.rank, dropout=0.0)
    model = attach_lora(new_model(shape), params, seed=0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.002)
    return model.train()


def random_ids(*size: int, shape: Shape, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(FIRST_TOKEN, shape.vocab_size, size, generator=generator)


def forward_flops(model: nn.Module, *, lengths: list[int], num_asked: float) -> float:
    """FLOPs of one pass over rows of `lengths` tokens, the head at `num_asked` positions.

    Multiply-add = 2, without adapters; a sliding layer counts the pairs within its window.
    """
    lm = unwrap_masked_lm(model)
    layers = sum(p.numel() for p in lm.model.layers.parameters() if p.dim() == 2)
    head = lm.head.dense.weight.numel() + lm.decoder.weight.numel()
    near = 2 * lm.config.sliding_window + 1
    pairs = sum(
        sum(n * (min(n, near) if kind == "sliding_attention" else n) for n in lengths)
        for kind in lm.config.layer_types
    )
    return 2.0 * (layers * sum(lengths) + head * num_asked) + 4.0 * lm.config.hidden_size * pairs
