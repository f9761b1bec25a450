"""Small random checkpoints of every architecture that can be scored."""

from pathlib import Path
from typing import Any

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
RANGE = 0.3  # of the initial weights: values that differ


def save_tokenizer(folder: Path, base: Path, *, begin: bool, end: bool) -> Any:
    """The tiny byte-level tokenizer with a begin token, an end token, both or none."""
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    template = f"{'<bos> ' * begin}$A{' <eos>' * end}"
    special = [("<bos>", tokenizer.bos_token_id), ("<eos>", tokenizer.eos_token_id)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=template, special_tokens=special
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def save_model(kind: str, folder: Path, base: Path, *, begin: bool, end: bool) -> Path:
    """A seeded random model: llama, mistral, gptj, t5, bert or modernbert."""
    import torch
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = save_tokenizer(folder, base, begin=begin, end=end)
    special = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    small = {**special, **SHAPE, "intermediate_size": 48, "initializer_range": RANGE}
    torch.manual_seed(0)
    if kind == "llama":
        config = transformers.LlamaConfig(**small, max_position_embeddings=256)
        model = transformers.LlamaForCausalLM(config)
    elif kind == "mistral":
        config = transformers.MistralConfig(
            **small, num_key_value_heads=1, sliding_window=16, max_position_embeddings=256
        )
        model = transformers.MistralForCausalLM(config)
    elif kind == "gptj":
        config = transformers.GPTJConfig(
            **special, n_embd=32, n_layer=2, n_head=2, rotary_dim=8, n_positions=256,
            initializer_range=RANGE,
        )  # fmt: skip
        model = transformers.GPTJForCausalLM(config)
    elif kind == "t5":
        config = transformers.T5Config(
            **special, d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2,
            decoder_start_token_id=tokenizer.pad_token_id, initializer_factor=3.0,
        )  # fmt: skip
        model = transformers.T5ForConditionalGeneration(config)
    elif kind == "bert":
        config = transformers.BertConfig(**small, max_position_embeddings=256)
        model = transformers.BertForMaskedLM(config)
    else:
        config = transformers.ModernBertConfig(
            **small, max_position_embeddings=256, local_attention=16, global_attn_every_n_layers=2,
            cls_token_id=tokenizer.bos_token_id, sep_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
        model = transformers.ModernBertForMaskedLM(config)
    model.eval().save_pretrained(folder)
    return folder
