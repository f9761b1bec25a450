"""The matrix products of a training step on 1024 tokens: PyTorch's own BLAS against oneDNN.

`input`, `weight`: the gradients of a layer's input and weight; `head`: 525 positions against a
block of the vocabulary. `new_*`: the same with a number of rows that did not occur before, which
makes oneDNN build a kernel.
"""

from collections.abc import Callable, Iterator
from itertools import count

import torch
from torch import Tensor

from benchmarks.parts.command import main
from benchmarks.parts.measure import compare, max_abs_diff
from benchmarks.parts.shapes import Shape
from diffutron.modeling.matmul import onednn_matmul, weight_gradient

TOKENS, MASKED, VOCABULARY = 1024, 525, 1024
CALLS = 20  # of a product in a timed run

Call = Callable[[], Tensor]


@torch.no_grad()
def cases(shape: Shape, repeats: int) -> Iterator[dict]:
    torch.manual_seed(0)
    inputs, outputs = shape.hidden_size, 2 * shape.intermediate_size
    weight, rows = torch.randn(outputs, inputs), torch.randn(TOKENS, inputs)
    grad, tokens = torch.randn(TOKENS, outputs), torch.randn(VOCABULARY, inputs)
    more = torch.randn(2 * TOKENS, inputs)
    pairs: dict[str, tuple[int, Call, Call]] = {
        "forward": (outputs, lambda: rows @ weight.t(), lambda: onednn_matmul(rows, weight.t())),
        "input": (outputs, lambda: grad @ weight, lambda: onednn_matmul(grad, weight)),
        "weight": (outputs, lambda: grad.t() @ rows, lambda: weight_gradient(grad, rows)),
        "head": (
            VOCABULARY * MASKED // TOKENS,
            lambda: rows[:MASKED] @ tokens.t(),
            lambda: onednn_matmul(rows[:MASKED], tokens.t()),
        ),
    }
    for name, (columns, blas, onednn) in pairs.items():
        difference = max_abs_diff(blas(), onednn())
        flops = 2.0 * TOKENS * inputs * columns
        yield product_case(name, blas, onednn, repeats, flops=flops, difference=difference)
    sizes = count(TOKENS + 1)
    yield product_case(
        "new_forward",
        lambda: more[: next(sizes)] @ weight.t(),
        lambda: onednn_matmul(more[: next(sizes)], weight.t()),
        repeats,
        flops=2.0 * TOKENS * inputs * outputs,
        difference=max_abs_diff(more @ weight.t(), onednn_matmul(more, weight.t())),
    )


def product_case(
    case: str, blas: Call, onednn: Call, repeats: int, *, flops: float, difference: float
) -> dict:
    """`gflops`: of both, each as the median of the runs."""
    found = compare(case, lambda: _often(blas), lambda: _often(onednn), repeats=repeats)
    speeds = [round(CALLS * flops / runs.median / 1e9, 1) for runs in (found.plain, found.ours)]
    return found.row(case, flops=CALLS * flops, max_abs_diff=difference, gflops=speeds)


def _often(call: Call) -> None:
    for _ in range(CALLS):
        call()


if __name__ == "__main__":
    main(cases)
