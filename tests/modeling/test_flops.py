"""The arithmetic of a step, against a count by hand and by PyTorch's own counter."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from diffutron.config.training_params import LoraParams
from diffutron.modeling.encoder import load_model
from diffutron.modeling.flops import matmul_peak, training_flops
from diffutron.modeling.head import run_encoder
from diffutron.modeling.lora import attach_lora


def test_training_flops_match_pytorchs_counter(tiny_model_dir):
    """A full step on one row without sliding layers being cut, every position masked."""
    model = load_model(tiny_model_dir, made_by="backbone")
    model.set_attn_implementation("eager")
    length = 8  # within the window
    ids = torch.arange(5, 5 + length)[None]
    with FlopCounterMode(display=False) as counter:
        hidden = run_encoder(model, ids)
        model.decoder(model.head(hidden)).sum().backward()
    pairs = length * length
    ours = training_flops(model, tokens=length, masked=length, attended=(pairs, pairs))
    assert abs(ours / counter.get_total_flops() - 1) < 0.02


def test_a_frozen_matrix_costs_two_thirds(tiny_model_dir):
    model = load_model(tiny_model_dir, made_by="backbone")
    full = training_flops(model, tokens=10, masked=0, attended=(0, 0))
    attach_lora(model, LoraParams(rank=2, alpha=2, dropout=0), seed=0)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    adapted = training_flops(model, tokens=10, masked=0, attended=(0, 0))
    assert adapted == full * 2 / 3 + 60 * trainable


def test_matmul_peak_is_a_plausible_speed():
    assert 1e8 < matmul_peak("cpu", repeats=1) < 1e14
