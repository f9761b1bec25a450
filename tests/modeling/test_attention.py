"""Attention of packed rows against plain attention over the same masks."""

import pytest
import torch
from transformers import ModernBertConfig, ModernBertForMaskedLM

from diffutron.modeling import attention
from diffutron.modeling.attention import use_packed_attention
from diffutron.modeling.head import run_encoder
from diffutron.modeling.packing import PackedRows, attention_masks, pack_rows
from diffutron.training.batches import MicroBatch
from tests.support.varlen import each_sample


@pytest.fixture
def model() -> ModernBertForMaskedLM:
    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=37,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        global_attn_every_n_layers=3,
        local_attention=8,
        initializer_range=0.3,
        pad_token_id=0,
    )
    return ModernBertForMaskedLM(config).double().eval()


def packed(*lengths: int):
    samples = [torch.randint(5, 37, (n,)).numpy() for n in lengths]
    return pack_rows(samples, [[0, 1], [2]], pad_token_id=0)


@pytest.mark.parametrize("block", [4, 7, 128])
def test_blocks_of_queries_change_neither_states_nor_gradients(model, monkeypatch, block) -> None:
    monkeypatch.setattr(attention, "BLOCK", block)
    rows = packed(13, 20, 25)
    masks = attention_masks(rows.segment, window=model.config.sliding_window)

    def run() -> list[torch.Tensor]:
        model.zero_grad()
        hidden = run_encoder(model, rows.ids, masks, rows.position)[rows.segment >= 0]
        (hidden**3).sum().backward()
        return [hidden.detach(), *(p.grad for p in model.model.layers.parameters())]

    expected = run()
    use_packed_attention(model)
    torch.testing.assert_close(run(), expected)


def test_two_dimensional_masks_still_work(model) -> None:
    ids = torch.randint(5, 37, (2, 30))
    real = torch.ones(2, 30, dtype=torch.bool)
    real[1, 20:] = False
    with torch.no_grad():
        expected = run_encoder(model, ids, real)[real]
        use_packed_attention(model)
        torch.testing.assert_close(run_encoder(model, ids, real)[real], expected)


def test_a_saved_model_does_not_know_of_it(model, tmp_path) -> None:
    use_packed_attention(model)
    model.save_pretrained(tmp_path)
    assert attention.NAME not in (tmp_path / "config.json").read_text(encoding="utf-8")


def micro_batch(rows: PackedRows) -> MicroBatch:
    """Of which every real token is masked."""
    places = (rows.segment.flatten() >= 0).nonzero().flatten()
    return MicroBatch(
        rows.ids, rows.position, rows.segment, places, rows.ids.flatten()[places], places.float(), 1
    )


def test_unpadded_rows_hold_the_real_tokens_once() -> None:
    rows = packed(3, 4, 2)
    micro = micro_batch(rows)
    row = micro.unpadded()
    assert torch.equal(row.noisy_ids[0], rows.ids.flatten()[rows.segment.flatten() >= 0])
    assert torch.equal(row.noisy_ids[0][row.masked_at], micro.targets)
    assert row.bounds is not None
    assert row.bounds.tolist() == [0, 3, 7, 9]
    assert row.longest == 4


def test_the_gpu_kernel_is_asked_for_each_sample_alone(model, monkeypatch) -> None:
    """The kernel itself runs on CUDA alone: here a loop over the samples stands in its place, so
    that what it is given is known to be right."""
    calls: list[int] = []

    def counted(states, bounds, longest, scaling, window):
        calls.append(longest)
        return each_sample(states, bounds, longest, scaling, window)

    monkeypatch.setattr(attention, "_varlen", counted)
    rows = packed(13, 20, 25)
    masks = attention_masks(rows.segment, window=model.config.sliding_window)
    with torch.no_grad():
        expected = run_encoder(model, rows.ids, masks, rows.position)
        use_packed_attention(model)
        row = micro_batch(rows).unpadded()
        none = {"full_attention": None, "sliding_attention": None}
        found = run_encoder(
            model,
            row.noisy_ids,
            none,
            row.position_ids,
            sample_bounds=row.bounds,
            longest=row.longest,
        )[0]
    torch.testing.assert_close(found, expected[rows.segment >= 0])
    assert calls == [25] * 3


@pytest.mark.parametrize("block", [7, 128])
def test_bf16_on_a_cpu_attends_as_float32_does(model, monkeypatch, block) -> None:
    """With a gradient it goes by plain products, without one by PyTorch's kernel."""
    monkeypatch.setattr(attention, "BLOCK", block)
    use_packed_attention(model)
    rows = packed(13, 20, 25)
    masks = attention_masks(rows.segment, window=model.config.sliding_window)
    kept = rows.segment >= 0

    def run(dtype: torch.dtype) -> list[torch.Tensor]:
        model.to(dtype).zero_grad()
        hidden = run_encoder(model, rows.ids, masks, rows.position)[kept]
        (hidden.float() ** 3).sum().backward()
        with torch.no_grad():
            again = run_encoder(model, rows.ids, masks, rows.position)[kept]
        torch.testing.assert_close(again, hidden.detach(), rtol=0.05, atol=0.1)
        return [p.grad.detach().clone().float() for p in model.model.layers.parameters()]

    exact, half = run(torch.float32), run(torch.bfloat16)
    norm = torch.cat([one.flatten() for one in exact]).norm()
    apart = torch.cat([(a - b).flatten() for a, b in zip(exact, half, strict=True)]).norm()
    assert apart < 0.05 * norm
