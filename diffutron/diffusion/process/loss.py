"""The training loss of masked diffusion: a weighted cross-entropy at the masked tokens.

MDLM (arXiv 2406.07524), eq. 10: NELBO = E_t E_{x_t} [ weight(t) x sum over masked i of -log p(x_i
| x_t) ].
"""

import torch
from torch import Tensor

from diffutron.diffusion.process.masking import truncation_factor
from diffutron.diffusion.process.schedule import Schedule


def sample_weight(t: Tensor, lengths: Tensor, *, schedule: Schedule) -> Tensor:
    """What each token_nll of a sample counts for: weight(t) x (1 - (1 - mask_prob)^L); t,
    lengths: [B].

    With masks from `mask_samples` the expectation of sum(weight x token_nll) over t is the bound
    in nats.
    """
    return schedule.weight(t) * truncation_factor(schedule.mask_prob(t), lengths)


def weighted_nll(token_nll: Tensor, weight: Tensor, *, normalizer: Tensor | float) -> Tensor:
    """sum(weight x token_nll) / normalizer, a scalar; token_nll, weight: [N], one entry for each
    masked token.

    normalizer: the maskable tokens of the whole global batch, so that micro-batches and ranks add
    up.
    """
    return torch.dot(token_nll, weight.to(token_nll.dtype)) / normalizer
