"""What the GPU's kernel is given, with a stand-in for the kernel: the real one runs on CUDA
alone."""

import sys
from types import ModuleType

import pytest
import torch
from torch.nn.functional import cross_entropy

from diffutron.modeling import cuda_loss
from diffutron.modeling.cuda_loss import cuda_kernel, kernel_nll

MASK = 4


def linear_cross_entropy(e, c, targets, bias=None, reduction="mean", impl="cce"):
    assert impl == "cce_exact"
    return cross_entropy(e @ c.t() + bias, targets, reduction=reduction)


@pytest.mark.parametrize("biased", [True, False])
def test_the_mask_token_has_no_probability(biased: bool) -> None:
    torch.manual_seed(0)
    features = torch.randn(6, 8, requires_grad=True)
    weight, targets = torch.randn(11, 8), torch.tensor([0, 1, 2, 3, 5, 10])
    bias = torch.randn(11) if biased else None
    logits = features @ weight.t() + (bias if biased else 0)
    expected = cross_entropy(
        logits.index_fill(1, torch.tensor([MASK]), -torch.inf), targets, reduction="none"
    )
    found = kernel_nll(linear_cross_entropy, features, weight, bias, targets, mask_token_id=MASK)
    torch.testing.assert_close(found, expected)
    (got,) = torch.autograd.grad(found.sum(), features, retain_graph=True)
    torch.testing.assert_close(got, torch.autograd.grad(expected.sum(), features)[0])


def test_the_kernel_is_used_where_it_is_installed_and_knows_biases(monkeypatch) -> None:
    package = ModuleType(cuda_loss.PACKAGE)
    package.__spec__ = object()  # what find_spec looks for in a module that is loaded
    monkeypatch.setitem(sys.modules, cuda_loss.PACKAGE, package)
    for kernel, usable in ((linear_cross_entropy, True), (lambda e, c, targets: None, False)):
        package.linear_cross_entropy = kernel
        cuda_kernel.cache_clear()
        assert (cuda_kernel() is kernel) == usable
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    cuda_kernel.cache_clear()
    assert cuda_kernel() is None
    cuda_kernel.cache_clear()
