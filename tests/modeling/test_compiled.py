"""When code is compiled, and that the layers of the encoder can be, whole."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import ModernBertConfig, ModernBertForMaskedLM

from diffutron.config.training_params import LoraParams
from diffutron.modeling import compiled
from diffutron.modeling.lora import attach_lora
from diffutron.runtime.errors import UserError
from diffutron.training.batches import MicroBatch
from diffutron.training.trainer import MaskedLoss


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    ask = compiled.can_compile
    ask.cache_clear()
    yield
    ask.cache_clear()


@pytest.mark.parametrize(
    ("lacks", "choice", "expected"),
    [
        pytest.param(None, "1", True, id="all there"),
        pytest.param("gpu", "1", False, id="no GPU"),
        pytest.param("triton", "1", False, id="no Triton"),
        pytest.param("compiler", "1", False, id="no C compiler"),
        pytest.param(None, "0", False, id="not wanted"),
    ],
)
def test_what_compiling_needs(monkeypatch, lacks, choice, expected):
    monkeypatch.setenv(compiled.CHOICE, choice)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: lacks != "gpu")
    monkeypatch.setattr(compiled, "find_spec", lambda name: None if lacks == "triton" else name)
    monkeypatch.setattr(
        compiled.shutil, "which", lambda name: None if lacks == "compiler" else name
    )
    assert compiled.can_compile() is expected


def test_a_wrong_choice_is_one_line(monkeypatch):
    monkeypatch.setenv(compiled.CHOICE, "yes")
    with pytest.raises(UserError, match="DIFFUTRON_COMPILE='yes': set it to 0 or 1"):
        compiled.can_compile()


def test_on_a_cpu_code_runs_as_it_is(monkeypatch):
    monkeypatch.setattr(compiled, "can_compile", lambda: True)
    seen: list[Any] = []

    @compiled.fused_on_gpu
    def double(x: torch.Tensor) -> torch.Tensor:
        seen.append(torch.compiler.is_compiling())
        return 2 * x

    assert double(torch.ones(2)).tolist() == [2, 2]
    assert seen == [False]


def unpadded_batch(lengths: list[int]) -> MicroBatch:
    """A row without padding on the device `meta`, where shapes are known and no numbers."""
    position = torch.cat([torch.arange(n) for n in lengths])[None]
    ids, places = torch.full_like(position, 7), torch.arange(5)
    whole = MicroBatch(
        ids, position, torch.zeros_like(position), places, places, places.float(), 1.0
    )
    moved = {
        name: value.to("meta")
        for name, value in vars(whole.unpadded()).items()
        if torch.is_tensor(value)
    }
    return replace(whole, longest=max(lengths), **moved)


@pytest.mark.slow
def test_each_kind_of_layer_is_one_graph_for_all_lengths(monkeypatch):
    """With the kernel's own shape rules, forward and backward; `fullgraph` refuses a break."""
    config = ModernBertConfig(
        vocab_size=37,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=5,
        num_attention_heads=2,
        global_attn_every_n_layers=3,
        pad_token_id=0,
    )
    model = attach_lora(
        ModernBertForMaskedLM(config), LoraParams(rank=16, alpha=16, dropout=0.0), seed=0
    )
    loss = MaskedLoss(model.to("meta", torch.bfloat16), mask_token_id=4)
    monkeypatch.setattr(compiled, "can_compile", lambda: True)
    sizes: list[int] = []

    def counting(graph: Any, inputs: Any) -> Any:
        sizes.append(sum(node.op.startswith("call") for node in graph.graph.nodes))
        return graph

    real = torch.nn.Module.compile

    def watched(layer: torch.nn.Module, **options: Any) -> None:
        real(layer, **options, backend=counting, fullgraph=True)

    monkeypatch.setattr(torch.nn.Module, "compile", watched)
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 8)  # which is restored
    compiled.compile_layers(model.base_model.model.model.layers)
    for lengths in ([300, 200], [100, 700, 90], [500]):
        hidden = loss._hidden(unpadded_batch(lengths))
        assert hidden.shape == (5, 16)
        hidden.sum().backward()
    assert len(sizes) == 3  # the first layer, a sliding one, a full one
    assert max(sizes) <= 70  # operations of a layer, most of which one kernel takes in
