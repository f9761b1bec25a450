"""Adapters: neutral when new, alone trainable, plain on disk, exact when merged."""

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer

from diffutron.config.training_params import LoraParams
from diffutron.modeling.encoder import count_parameters, load_model
from diffutron.modeling.lora import attach_lora, merge_lora
from diffutron.runtime.errors import UserError

PARAMS = LoraParams(rank=4, alpha=8, dropout=0.0)


@pytest.fixture
def model(tiny_model_dir):
    return load_model(tiny_model_dir, made_by="backbone").eval()


@pytest.fixture
def ids():
    return torch.arange(5, 25).reshape(2, 10)


def _learn(adapted):
    """Adapters as after training: none of their weights zero."""
    generator = torch.Generator().manual_seed(1)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1


def test_a_new_adapter_changes_nothing(model, ids):
    before = model(ids).logits
    attach_lora(model, PARAMS, seed=0)
    assert torch.equal(model(ids).logits, before)


def test_only_adapters_on_the_linears_of_the_trunk_train(model):
    linears = [m for m in model.model.layers.modules() if isinstance(m, torch.nn.Linear)]
    size = sum(PARAMS.rank * (m.in_features + m.out_features) for m in linears)
    adapted = attach_lora(model, PARAMS, seed=0)
    adapters = [name for name, m in adapted.named_modules() if isinstance(m, LoraLayer)]
    assert len(adapters) == len(linears) == 4 * model.config.num_hidden_layers
    assert all(".layers." in name for name in adapters)
    assert count_parameters(adapted)["trainable"] == size
    trainable = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert all("lora_" in name for name in trainable)


def test_adapters_are_seeded(tiny_model_dir):
    def first_weights(seed):
        model = load_model(tiny_model_dir, made_by="backbone")
        adapted = attach_lora(model, PARAMS, seed=seed)
        return next(p for p in adapted.parameters() if p.requires_grad)

    assert torch.equal(first_weights(1), first_weights(1))
    assert not torch.equal(first_weights(1), first_weights(2))


def test_merged_logits_match_the_adapters(model, ids, tiny_model_dir, tmp_path):
    base = model(ids).logits
    adapted = attach_lora(model, PARAMS, seed=0)
    _learn(adapted)
    expected = adapted(ids).logits
    assert (expected - base).abs().max() > 0.01
    adapted.save_pretrained(str(tmp_path), save_embedding_layers=False)

    merged = merge_lora(load_model(tiny_model_dir, made_by="backbone"), tmp_path).eval()
    torch.testing.assert_close(merged(ids).logits, expected, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(m, LoraLayer) for m in merged.modules())
    assert all(p.requires_grad for p in merged.parameters())

    plain = PeftModel.from_pretrained(load_model(tiny_model_dir, made_by="backbone"), tmp_path)
    torch.testing.assert_close(plain.eval()(ids).logits, expected)


def test_an_adapter_that_does_not_fit(model, tmp_path):
    with pytest.raises(UserError, match="run the stage `pretrain` first"):
        merge_lora(model, tmp_path / "absent")
    with pytest.raises(UserError, match="does not fit the backbone"):
        merge_lora(model, tmp_path)
