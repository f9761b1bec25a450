"""Masked diffusion: the process and its loss, sampling and likelihood.

Imports torch and nothing of ours. A model is one of two functions of token ids.

Shapes: R rows, L their length, N positions, V vocabulary, M scored tokens.
"""

from collections.abc import Callable

from torch import Tensor

# fn(ids [R, L], attention_mask bool [R, L] or None if no row is padded, positions bool [R, L])
# -> fresh logits [N, V] at the positions, row-major
LogitsFn = Callable[[Tensor, Tensor | None, Tensor], Tensor]

# fn(ids [R, L], attention_mask as above, rows [M], cols [M], targets [M])
# -> log p(targets[m] | ids[rows[m]]) at position cols[m], [M]; the mask token has no probability
LogprobFn = Callable[[Tensor, Tensor | None, Tensor, Tensor, Tensor], Tensor]
