"""How sure the model is at a masked position: what decides the order of unmasking.

Shapes: N positions, V vocabulary. Higher is surer.
"""

from typing import Literal

import torch
from torch import Tensor

Measure = Literal["low_confidence", "margin", "entropy"]
MEASURES: tuple[Measure, ...] = ("low_confidence", "margin", "entropy")


def confidence(logits: Tensor, tokens: Tensor, *, measure: Measure) -> Tensor:
    """Confidence [N] in `tokens` [N] under logits [N, V].

    low_confidence: the token's probability (LLaDA, arXiv 2502.09992: the low ones stay masked).
    margin: the probability of the best token less that of the second (Kim et al., arXiv
    2502.06768). entropy: the negative entropy in nats (Dream, arXiv 2508.15487). The last two
    describe the position, whatever token is taken.
    """
    normalizer = logits.logsumexp(dim=1)
    if measure == "low_confidence":
        return (logits.gather(1, tokens[:, None]).squeeze(1) - normalizer).exp()
    if measure == "margin":
        best = logits.topk(min(2, logits.shape[1]), dim=1).values
        best = (best - normalizer[:, None]).exp()
        return best[:, 0] - best[:, 1:].sum(dim=1)
    probs = (logits - normalizer[:, None]).exp()
    return torch.xlogy(probs, probs).sum(dim=1)
