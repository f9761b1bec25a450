"""The head at selected positions against the plain full-vocabulary formula."""

import pytest
import torch
from torch import Tensor
from transformers import ModernBertConfig, ModernBertForMaskedLM

from diffutron.modeling import fused_cross_entropy, head, matmul
from diffutron.modeling.head import (
    head_logits,
    head_nll,
    logits_fn,
    logprob_fn,
    run_encoder,
    unwrap_masked_lm,
)

MASK = 4


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
        local_attention=4,
        initializer_range=0.3,
        pad_token_id=0,
    )
    model = ModernBertForMaskedLM(config).double().eval()
    torch.nn.init.normal_(model.decoder.bias)
    return model


def plain_nll(model: ModernBertForMaskedLM, hidden: Tensor, targets: Tensor) -> Tensor:
    logits = model.decoder(model.head(hidden)).index_fill(1, torch.tensor([MASK]), -torch.inf)
    return torch.nn.functional.cross_entropy(logits, targets, reduction="none")


def gradients(model: ModernBertForMaskedLM, nll: Tensor, weights: Tensor) -> list[Tensor]:
    model.zero_grad()
    (nll * weights).sum().backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


@pytest.fixture(params=["in place", "in kernels"])
def way(request, monkeypatch) -> None:
    """Both ways through the logits: a CPU's in their memory, and a GPU's, not compiled here."""
    monkeypatch.setattr(fused_cross_entropy, "on_gpu", lambda _: request.param == "in kernels")


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("chunk_rows", [1, 5, 128])
@pytest.mark.parametrize("given", ["none", "proportional", "other"])
def test_head_nll_matches_the_plain_formula(
    model, chunk_rows: int, given: str, monkeypatch
) -> None:
    monkeypatch.setitem(head.CHUNK_ROWS, "cpu", chunk_rows)
    ids = torch.randint(5, 37, (2, 7))
    targets = torch.tensor([5, 6, 36, 7, 7, 8, 9, 30, 12, 5, 6, 1, 2, 3])
    weights = torch.linspace(0.1, 3.0, 14, dtype=torch.float64)
    announced = {"none": None, "proportional": weights * 7.0, "other": weights.flip(0)}[given]
    expected = plain_nll(model, run_encoder(model, ids).flatten(0, 1), targets)
    expected_gradients = gradients(model, expected, weights)
    hidden = run_encoder(model, ids).flatten(0, 1)
    nll = head_nll(model, hidden, targets, announced, mask_token_id=MASK)
    torch.testing.assert_close(nll, expected)
    torch.testing.assert_close(gradients(model, nll, weights), expected_gradients)


def test_head_nll_with_a_frozen_head_trains_the_trunk_alone(model) -> None:
    model.requires_grad_(False)
    model.model.layers.requires_grad_(True)
    ids, targets = torch.randint(5, 37, (1, 6)), torch.tensor([5, 6, 7, 8, 9, 10])
    weights = torch.ones(6, dtype=torch.float64)
    expected = gradients(model, plain_nll(model, run_encoder(model, ids)[0], targets), weights)
    nll = head_nll(model, run_encoder(model, ids)[0], targets, weights, mask_token_id=MASK)
    torch.testing.assert_close(gradients(model, nll, weights), expected)
    assert model.decoder.weight.grad is None


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("block_logits", [1, 2**21])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_one_pass_over_a_large_decoder_gives_the_same(
    model, monkeypatch, block_logits: int, with_bias: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(fused_cross_entropy, "LARGE_DECODER", 0)
    monkeypatch.setitem(fused_cross_entropy.BLOCK_LOGITS, "cpu", block_logits)
    model.to(dtype).requires_grad_(False)
    model.decoder.weight.mul_(50)  # so that the highest logit changes from block to block
    if not with_bias:
        model.decoder.bias = None
    targets = torch.tensor([5, 6, 36, 7, MASK, 0])
    hidden = torch.randn(6, 16, dtype=dtype, requires_grad=True)
    weights = torch.tensor([1.0, 0.5, 2.0, 0.1, 0.0, 3.0], dtype=dtype)
    expected = plain_nll(model, hidden, targets)
    nll = head_nll(model, hidden, targets, weights, mask_token_id=MASK)
    torch.testing.assert_close(nll, expected)
    scored = targets != MASK
    (theirs,) = torch.autograd.grad((expected * weights)[scored].sum(), hidden)
    (ours,) = torch.autograd.grad((nll * weights)[scored].sum(), hidden)
    torch.testing.assert_close(ours, theirs)
    with torch.no_grad():
        again = head_nll(model, hidden, targets, mask_token_id=MASK)
    torch.testing.assert_close(again, nll.detach())


@pytest.mark.parametrize("rows", [1, 7, 1000, 40_001, 70_000, 10**7])
@pytest.mark.parametrize("size", [37, 1000, 50_368, 256_000])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_blocks_of_logits_begin_where_matrix_units_want_them(rows, size, device):
    columns = fused_cross_entropy._block_columns(rows, size, device)
    assert columns % fused_cross_entropy.ALIGNED == 0 or columns < fused_cross_entropy.ALIGNED
    assert columns < size
    largest = max(fused_cross_entropy.BLOCK_LOGITS[device], 256 * rows)
    assert columns * rows <= largest + fused_cross_entropy.ALIGNED * rows


@pytest.mark.parametrize("large", [0, 2**30])
def test_no_tensor_of_more_rows_than_a_chunk_reaches_the_vocabulary(
    model, monkeypatch, large: int
) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Widest(TorchDispatchMode):
        rows = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor) and out.dim() == 2 and out.shape[1] == 37:
                self.rows = max(self.rows, out.shape[0])
            return out

    monkeypatch.setattr(fused_cross_entropy, "LARGE_DECODER", large)
    monkeypatch.setitem(head.CHUNK_ROWS, "cpu", 20)
    model.requires_grad_(large > 0)
    hidden = torch.randn(30, 16, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(5, 37, (30,))
    with Widest() as widest:
        head_nll(model, hidden, targets, mask_token_id=MASK).sum().backward()
    assert widest.rows <= 20  # the transposed decoder itself has 16


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_decoders_gradient_is_added_in_place(model, monkeypatch, dtype) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Named(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.blocks: list[str] = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor) and out.shape == (8, 16):
                self.blocks.append(str(func))
            return out

    monkeypatch.setitem(fused_cross_entropy.BLOCK_TOKENS, "cpu", 8)
    model.to(dtype)
    features, targets = torch.randn(5, 16, dtype=dtype), torch.tensor([5, 6, 7, 8, 9])
    weight = model.decoder.weight.detach().requires_grad_()
    wide = weight.detach().to(torch.float64).requires_grad_()
    logits = (features.double() @ wide.t()).index_fill(1, torch.tensor([MASK]), -torch.inf)
    torch.nn.functional.cross_entropy(logits, targets, reduction="sum").backward()
    with Named() as named:
        fused_cross_entropy.FusedNLL.apply(
            features, weight, None, targets, torch.ones(5), MASK, 5, True
        ).sum().backward()
    blocks = [name for name in named.blocks if "slice" not in name]
    if dtype == torch.bfloat16:  # the product is one of bf16, the sum is not
        assert blocks.count("aten.add_.Tensor") == 4
    else:
        assert blocks == ["aten.addmm_.default"] * 4  # the fifth block has five tokens
    tolerance = 0.02 if dtype == torch.bfloat16 else 1e-4
    torch.testing.assert_close(weight.grad.double(), wide.grad, rtol=tolerance, atol=tolerance)


def test_half_precision_sums_in_float32(model) -> None:
    half = model.bfloat16()
    hidden, targets = torch.randn(4, 16, dtype=torch.bfloat16), torch.tensor([5, 6, 7, 8])
    with torch.no_grad():
        nll = head_nll(half, hidden, targets, mask_token_id=MASK)
        logits = head_logits(half, hidden, mask_token_id=MASK)
    assert nll.dtype == logits.dtype == torch.float32
    torch.testing.assert_close(
        nll, torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    )


def test_logits_and_logprobs_agree_with_the_whole_model(model, monkeypatch) -> None:
    ids = torch.randint(5, 37, (2, 7))
    attention_mask = torch.ones(2, 7, dtype=torch.bool)
    attention_mask[1, 5:] = False
    with torch.no_grad():
        full = model(input_ids=ids, attention_mask=attention_mask).logits
    full[..., MASK] = -torch.inf
    positions = torch.zeros(2, 7, dtype=torch.bool)
    positions[0, 2] = positions[1, 4] = positions[1, 0] = True
    logits = logits_fn(model, mask_token_id=MASK)(ids, attention_mask, positions)
    torch.testing.assert_close(logits, full[positions])
    rows, cols = torch.tensor([1, 0, 1, 0, 1]), torch.tensor([4, 2, 4, 2, 0])
    targets = torch.tensor([5, 6, 7, 8, MASK])
    for chunk_rows in (1, 2, 3, 128):
        monkeypatch.setitem(head.CHUNK_ROWS, "cpu", chunk_rows)
        fn = logprob_fn(model, mask_token_id=MASK)
        got = fn(ids, attention_mask, rows, cols, targets)
        torch.testing.assert_close(got, full.log_softmax(-1)[rows, cols, targets])


@pytest.mark.parametrize("library", ["blas", "onednn"])
def test_the_memory_of_logits_is_asked_for_once(model, monkeypatch, library: str) -> None:
    """oneDNN cannot write into given memory; with it there is one tensor a chunk and no copy."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Kept(TorchDispatchMode):
        """Holds on to all logits of a chunk, so that none can take the place of another."""

        def __init__(self) -> None:
            super().__init__()
            self.seen: dict[int, Tensor] = {}

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if (
                isinstance(out, Tensor)
                and out.dim() == 2
                and {*out.shape} & {4, 5}
                and 37 in out.shape
            ):
                self.seen[out.untyped_storage().data_ptr()] = out
            return out

    if library == "onednn" and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("needs a PyTorch with oneDNN (the x86 and ARM wheels have it)")
    monkeypatch.setattr(matmul, "_for_onednn", lambda *_: library == "onednn")
    monkeypatch.setitem(head.CHUNK_ROWS, "cpu", 5)
    model.float()
    fn = logprob_fn(model, mask_token_id=MASK)
    ids, rows, cols = torch.randint(5, 37, (2, 7)), torch.arange(14) // 7, torch.arange(14) % 7
    with Kept() as scored:
        for _ in range(2):
            fn(ids, None, rows, cols, ids.flatten())
    assert len(scored.seen) == (1 if library == "blas" else 2 * 3)
    hidden, targets = torch.randn(14, 16), torch.randint(5, 37, (14,))
    for weights, passes in ((None, 2), (torch.ones(14), 1)):
        with Kept() as trained:
            head_nll(model, hidden, targets, weights, mask_token_id=MASK).sum().backward()
        assert len(trained.seen) == (passes if library == "blas" else passes * 3)


def test_packed_samples_see_only_themselves(model) -> None:
    samples = [torch.randint(5, 37, (n,)) for n in (9, 4)]
    packed = torch.cat(samples)[None]
    owner = torch.tensor([0] * 9 + [1] * 4)
    block = (owner[:, None] == owner[None, :])[None, None]
    at = torch.arange(13)
    near = (at[:, None] - at[None, :]).abs() <= model.config.sliding_window
    masks = {"full_attention": block, "sliding_attention": block & near}
    places = torch.cat([torch.arange(9), torch.arange(4)])[None]
    with torch.no_grad():
        together = run_encoder(model, packed, masks, places)[0]
        apart = torch.cat([run_encoder(model, ids[None])[0] for ids in samples])
    torch.testing.assert_close(together, apart)


def test_a_model_without_a_head_is_refused(model) -> None:
    with pytest.raises(ValueError, match="model: ModernBertModel has no language-model head"):
        unwrap_masked_lm(model.model)


def test_peft_adapters_are_looked_through(model) -> None:
    from peft import LoraConfig, get_peft_model

    ids = torch.randint(5, 37, (1, 6))
    with torch.no_grad():
        before = run_encoder(model, ids)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["Wqkv"]))
    with torch.no_grad():
        torch.testing.assert_close(run_encoder(adapted, ids), before)
    assert unwrap_masked_lm(adapted) is model
