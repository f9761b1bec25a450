"""Products by oneDNN against the same in float64, and when they are chosen."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import diffutron.modeling.matmul as matmul_module
from diffutron.modeling.matmul import Linear, matmul, use_fast_matmul
from diffutron.runtime.errors import UserError

ONEDNN = hasattr(torch.ops.mkldnn, "_linear_pointwise")


@pytest.fixture(params=["blas", "onednn"])
def choice(request, monkeypatch):
    if request.param == "onednn" and not ONEDNN:
        pytest.skip("needs a PyTorch with oneDNN (the x86 and ARM wheels have it)")
    monkeypatch.setenv(matmul_module.CHOICE, request.param)
    monkeypatch.setattr(matmul_module, "SMALL_PRODUCT", 1)
    monkeypatch.setattr(matmul_module, "SMALL_WEIGHT", 1)
    matmul_module.prefers_onednn.cache_clear()
    yield request.param
    matmul_module.prefers_onednn.cache_clear()


def layers(inputs: int, outputs: int, *, bias: bool = True) -> tuple[nn.Module, nn.Module]:
    """A layer that chooses, and the same by PyTorch in float64."""
    torch.manual_seed(inputs * 100 + outputs)
    plain = nn.Sequential(nn.Linear(inputs, outputs, bias=bias))
    fast = copy.deepcopy(plain)
    use_fast_matmul(fast)
    return fast, plain.double()


def run(model: nn.Module, rows: torch.Tensor) -> list[torch.Tensor]:
    """The output and all gradients of a sum of cubes."""
    rows = rows.detach().requires_grad_()
    out = model(rows)
    (out**3).sum().backward()
    grads = [rows.grad, *(p.grad for p in model.parameters())]
    return [out.detach().double(), *(g.double() for g in grads)]


@pytest.mark.usefixtures("choice")
class TestLinear:
    @pytest.mark.parametrize("shape", [(1,), (5,), (2, 7), (3, 2, 4), (300,)], ids=str)
    @pytest.mark.parametrize("bias", [True, False])
    def test_values_and_gradients(self, shape: tuple[int, ...], bias: bool) -> None:
        for fast, plain in (layers(33, 17, bias=bias), layers(17, 33, bias=bias)):
            rows = torch.randn(*shape, fast[0].in_features)
            expected = run(plain, rows.double())
            torch.testing.assert_close(run(fast, rows), expected, rtol=1e-4, atol=1e-4)

    def test_a_vector_an_empty_batch_and_rows_with_gaps(self) -> None:
        fast, plain = layers(6, 4)
        rows = torch.randn(10, 12)
        for part in (rows[0, :6], rows[:0, :6], rows[:, ::2], rows.t()[:6].t()):
            torch.testing.assert_close(
                run(fast, part), run(plain, part.double()), rtol=1e-4, atol=1e-4
            )

    def test_frozen_weights_get_no_gradient(self) -> None:
        fast, _ = layers(6, 4)
        fast.requires_grad_(False)
        rows = torch.randn(3, 6, requires_grad=True)
        fast(rows).sum().backward()
        assert rows.grad is not None
        assert all(p.grad is None for p in fast.parameters())
        assert not fast(rows.detach()).requires_grad


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
@torch.no_grad()
def test_any_shape_and_either_order_in_memory(rows, inner, columns, left_t, right_t) -> None:
    if not ONEDNN:
        pytest.skip("needs a PyTorch with oneDNN (the x86 and ARM wheels have it)")
    left = torch.randn(inner, rows).t() if left_t else torch.randn(rows, inner)
    right = torch.randn(columns, inner).t() if right_t else torch.randn(inner, columns)
    found = matmul_module.onednn_matmul(left, right)
    torch.testing.assert_close(found.double(), left.double() @ right.double(), rtol=1e-4, atol=1e-4)


def test_a_product_that_is_differentiated_keeps_its_graph(choice) -> None:
    left, right = torch.randn(3, 4, requires_grad=True), torch.randn(4, 5)
    matmul(left, right).sum().backward()
    torch.testing.assert_close(left.grad, right.sum(1).expand(3, 4))


def test_float64_and_bfloat16_stay_with_pytorch(choice) -> None:
    with torch.no_grad():
        left, right = torch.randn(3, 4).double(), torch.randn(4, 5).double()
        assert torch.equal(matmul(left, right), left @ right)
        half = matmul(left.bfloat16(), right.bfloat16())
    assert half.dtype == torch.float32


def test_what_is_saved_and_copied_of_a_layer_is_the_same(choice) -> None:
    fast, plain = layers(6, 4)
    assert isinstance(fast[0], nn.Linear)
    assert fast.state_dict().keys() == plain.state_dict().keys()
    assert type(copy.deepcopy(fast)[0]) is Linear
    use_fast_matmul(fast)  # twice does no harm
    assert type(fast[0]) is Linear


@pytest.mark.parametrize(
    ("maker", "vectors", "expected"),
    [
        ("AuthenticAMD", "AVX512", True),
        ("AuthenticAMD", "AVX2", False),
        ("GenuineIntel", "AVX512", False),
        (None, "AVX512", False),  # an ARM names no maker
    ],
)
def test_the_processor_decides(
    monkeypatch, maker: str | None, vectors: str, expected: bool
) -> None:
    monkeypatch.delenv(matmul_module.CHOICE, raising=False)
    monkeypatch.setattr(matmul_module, "processor", lambda field: maker)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: vectors)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    assert matmul_module.prefers_onednn.__wrapped__() == (expected and ONEDNN)


def test_an_unknown_choice_is_told_when_a_model_is_taken(monkeypatch) -> None:
    monkeypatch.setenv(matmul_module.CHOICE, "cublas")
    matmul_module.prefers_onednn.cache_clear()
    with pytest.raises(UserError, match=r"DIFFUTRON_MATMUL.*'cublas'.*blas or onednn"):
        use_fast_matmul(nn.Linear(2, 2))


def test_small_products_stay_with_blas(monkeypatch) -> None:
    """Making a kernel for a new shape would cost more than it saves."""
    monkeypatch.setattr(matmul_module, "prefers_onednn", lambda: True)

    def used(rows: int, size: int) -> bool:
        layer = Linear(size, size)
        return "OneDNN" in repr(layer(torch.zeros(rows, 1, size)).grad_fn.next_functions[0][0])

    monkeypatch.setattr(matmul_module, "SMALL_PRODUCT", 1000)
    monkeypatch.setattr(matmul_module, "SMALL_WEIGHT", 100)
    assert [used(10, 10), used(9, 10), used(1000, 9)] == [True, False, False]
