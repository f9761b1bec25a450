"""Compiled code for a GPU, where a step is mostly traffic between memory and processor.

`torch.compile` joins the small operations of a layer (norms, rotations, gates, sums) into a few
kernels. It needs Triton and a C compiler. Without them, and on a CPU, the same code runs as it is.
"""

import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, wraps
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from diffutron.runtime.errors import UserError

CHOICE = "DIFFUTRON_COMPILE"  # 0 to do without


@cache
def can_compile() -> bool:
    """Whether this machine can compile kernels for its GPU."""
    choice = os.environ.get(CHOICE, "1")
    if choice not in ("0", "1"):
        raise UserError(f"{CHOICE}={choice!r}: set it to 0 or 1, or leave it out")
    compilers = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    has_compiler = any(shutil.which(name) for name in compilers if name)
    return bool(
        choice == "1" and torch.cuda.is_available() and find_spec("triton") and has_compiler
    )


def compile_if_possible() -> AbstractContextManager[object]:
    """For the length of a block, what other libraries compile (DeepSpeed's Muon) runs as plain
    torch where this machine cannot compile."""
    return nullcontext() if can_compile() else torch.compiler.set_stance("force_eager")


def compile_layers(layers: Iterable[nn.Module]) -> None:
    """Let each layer run compiled; layers that are alike share the code, for all lengths."""
    if can_compile():
        # A graph per kind of layer, with and without gradients; more, when lengths differ much.
        torch._dynamo.config.recompile_limit = 64
        for layer in layers:
            layer.compile(dynamic=True)


def fused_on_gpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled if its first tensor lies on a GPU; it may not change its arguments."""
    compiled: list[Callable[..., Any]] = []

    @wraps(function)
    def call(first: torch.Tensor, *rest: Any) -> Any:
        if not first.is_cuda or not can_compile():
            return function(first, *rest)
        if not compiled:
            compiled.append(torch.compile(function, dynamic=True))
        return compiled[0](first, *rest)

    return call
