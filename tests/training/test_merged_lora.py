"""An adapter added to its weight computes what PEFT computes beside it, when that costs less."""

from itertools import product

import pytest
import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from torch.utils.flop_counter import FlopCounterMode

from diffutron.config.training_params import LoraParams
from diffutron.modeling.encoder import load_model
from diffutron.modeling.lora import attach_lora
from diffutron.training.merged_lora import MergedLora, use_merged_lora


def layer(inputs: int, outputs: int, rank: int, *, dropout: float = 0.0) -> MergedLora:
    """An adapted layer [outputs, inputs], in float64; PEFT's zero factor is random here."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    inner = torch.nn.Sequential(torch.nn.Linear(inputs, outputs)).double()
    config = LoraConfig(r=rank, lora_alpha=3 * rank, lora_dropout=dropout, target_modules=["0"])
    adapted = get_peft_model(inner, config).double()  # type: ignore[arg-type]
    use_merged_lora(adapted)
    (found,) = (module for module in adapted.modules() if isinstance(module, LoraLinear))
    assert type(found) is MergedLora
    torch.nn.init.normal_(found.lora_B["default"].weight)
    return found.train()


def gradients(adapted: LoraLinear, x: torch.Tensor) -> list[torch.Tensor]:
    adapted.zero_grad()
    out = adapted(x)
    (out**2).sum().backward()
    found = [out.detach(), x.grad]
    x.grad = None
    return [*found, *(p.grad for p in adapted.parameters() if p.requires_grad)]


def test_output_and_gradients_are_pefts():
    merged = layer(12, 20, 8)
    x = torch.randn(3, 50, 12, dtype=torch.float64, requires_grad=True)
    assert merged._gains(x)
    found = gradients(merged, x)
    merged.__class__ = LoraLinear
    torch.testing.assert_close(found, gradients(merged, x))


@pytest.mark.parametrize("trains", [True, False])
def test_the_cheaper_way_is_taken(trains):
    """Counted by PyTorch: the choice follows the multiplications of forward and backward."""
    chosen = set()
    for (inputs, outputs), rank, tokens in product(
        [(16, 16), (16, 48), (48, 16)], [2, 8, 16], [4, 64, 1024]
    ):
        adapted = layer(inputs, outputs, rank)
        x = torch.randn(tokens, inputs, dtype=torch.float64, requires_grad=trains)
        counts = []
        for way in (MergedLora, LoraLinear):
            adapted.__class__ = way
            adapted._gains = lambda x: True  # type: ignore[method-assign]
            with torch.set_grad_enabled(trains), FlopCounterMode(display=False) as counted:
                out = adapted(x)
                if trains:
                    out.sum().backward()
            counts.append(counted.get_total_flops())
            del adapted._gains
        adapted.__class__ = MergedLora
        with torch.set_grad_enabled(trains):
            gains = adapted._gains(x)
        if counts[0] != counts[1]:
            assert gains == (counts[0] < counts[1]), (inputs, outputs, rank, tokens, counts)
        chosen.add(gains)
    assert chosen == ({True, False} if trains else {False} | chosen)


def test_what_peft_alone_can_do_is_left_to_it():
    x = torch.randn(500, 12, dtype=torch.float64)
    assert layer(12, 20, 8)._gains(x)
    assert not layer(12, 20, 8, dropout=0.1)._gains(x)
    assert layer(12, 20, 8, dropout=0.1).eval()._gains(x)
    assert not layer(12, 20, 8).float()._gains(x)
    adapted = layer(12, 20, 8)
    adapted.enable_adapters(False)
    assert not adapted._gains(x)
    adapted.enable_adapters(True)
    adapted.merge()
    assert not adapted._gains(x)
    pieces = layer(12, 20, 8)
    pieces.get_base_layer().weight.ds_id = 3  # as ZeRO-3 marks a weight in pieces
    assert not pieces._gains(x)


def test_what_is_saved_does_not_change(tiny_model_dir, tmp_path):
    adapted = attach_lora(
        load_model(tiny_model_dir, made_by="backbone"),
        LoraParams(rank=4, alpha=8, dropout=0.0),
        seed=0,
    )
    before = adapted.state_dict().keys()
    use_merged_lora(adapted)
    assert adapted.state_dict().keys() == before
    adapted.save_pretrained(tmp_path)
    assert "Merged" not in (tmp_path / "adapter_config.json").read_text()
