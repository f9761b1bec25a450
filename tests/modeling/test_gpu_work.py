"""What the head costs a GPU at 256 000 tokens: kernels and bytes, counted without a GPU.

Fake tensors go through the blocks that a GPU would use, and compute nothing.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack
from torch.utils._pytree import tree_leaves

from diffutron.modeling import fused_cross_entropy as fused
from diffutron.modeling import head

HIDDEN, VOCABULARY = 768, 256_000  # mmBERT-base
NO_KERNEL = {"slice", "t", "transpose", "view", "_unsafe_view", "unsqueeze", "squeeze", "detach"}


class Counter(TorchDispatchMode):
    """Kernels that would be launched, and the bytes that they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels, self.bytes = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func.namespace == "aten" and func.overloadpacket.__name__ not in NO_KERNEL:
            self.kernels += 1
            tensors = [x for x in tree_leaves((args, kwargs, found)) if torch.is_tensor(x)]
            self.bytes += sum(x.numel() * x.element_size() for x in tensors)
        return found


def as_one_kernel(function: Any) -> Any:
    """What is compiled into one kernel: the largest input is read twice, for its maximum first."""

    def call(*args: Any) -> Any:
        counters = [mode for mode in _get_current_dispatch_mode_stack() if type(mode) is Counter]
        before = [(each.kernels, each.bytes) for each in counters]
        found = function(*args)
        tensors = [x for x in tree_leaves((args, found)) if torch.is_tensor(x)]
        moved = sum(x.numel() * x.element_size() for x in (args[0], *tensors))
        for each, (kernels, bytes_) in zip(counters, before, strict=True):
            each.kernels, each.bytes = kernels + 1, bytes_ + moved
        return found

    return call


@pytest.fixture
def like_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Indexing of a fake CUDA tensor needs a CUDA build: fake CPU tensors take a GPU's blocks."""
    for sizes in (fused.BLOCK_LOGITS, fused.BLOCK_TOKENS, head.CHUNK_ROWS):
        monkeypatch.setitem(sizes, "cpu", sizes["cuda"])
    monkeypatch.setattr(head, "CHUNK_ROWS_BF16", head.CHUNK_ROWS["cuda"])
    monkeypatch.setattr(fused, "MANY_ROWS", 10**9)
    monkeypatch.setattr(fused, "on_gpu", lambda _: True)
    for name in ("_absorb", "_derived"):
        monkeypatch.setattr(fused, name, as_one_kernel(getattr(fused, name)))
    monkeypatch.setattr(torch, "allclose", lambda *_, **__: True)  # a GPU is not asked
    with FakeTensorMode():
        yield


@pytest.mark.parametrize(
    ("masked", "trainable", "kernels", "gigabytes"),
    [
        pytest.param(8192, False, 200, 110, id="pretrain"),  # with 256 columns a block: 15 026, 258
        pytest.param(1024, True, 80, 36, id="instruct"),  # with 128 rows a chunk: 1 719, 74
    ],
)
def test_the_loss_takes_few_kernels(like_a_gpu, masked, trainable, kernels, gigabytes):
    lm = torch.nn.Linear(HIDDEN, VOCABULARY, dtype=torch.bfloat16)
    model = torch.nn.Module()
    model.model, model.head, model.decoder = torch.nn.Identity(), torch.nn.Identity(), lm
    lm.requires_grad_(trainable)
    hidden = torch.empty(masked, HIDDEN, dtype=torch.bfloat16, requires_grad=True)
    targets, weights = torch.zeros(masked, dtype=torch.int64), torch.ones(masked)
    with Counter() as counted:
        nll = head.head_nll(model, hidden, targets, weights, mask_token_id=4)
        torch.dot(nll, weights).backward()
    assert counted.kernels <= kernels
    assert counted.bytes <= gigabytes * 1e9
