"""The plain form: the equations as they stand, with nothing saved. Written for comparison alone.

Every position of the padded batch has its logits over the whole vocabulary, and all of them go
through the loss or the choice of tokens before a mask says which were asked for.

Shapes: B rows, L the longest of them, V vocabulary.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

NEVER = -torch.inf


def training_loss(
    model: nn.Module,
    noisy_ids: Tensor,
    attention_mask: Tensor,
    clean_ids: Tensor,
    weight: Tensor,
    *,
    normalizer: float,
    mask_token_id: int,
) -> Tensor:
    """MDLM (arXiv 2406.07524), eq. 10: `weight` [B, L] is that of the sample where masked, else 0.

    The cross-entropy is taken at all B x L positions.
    """
    logits = model(input_ids=noisy_ids, attention_mask=attention_mask).logits
    logits[..., mask_token_id] = NEVER
    token_nll = nn.functional.cross_entropy(logits.transpose(1, 2), clean_ids, reduction="none")
    return (token_nll * weight).sum() / normalizer


@torch.no_grad()
def denoise(
    model: nn.Module,
    ids: Tensor,
    attention_mask: Tensor,
    first: Tensor,
    *,
    num_steps: int,
    block_length: int,
    temperature: float,
    mask_token_id: int,
) -> Iterator[Tensor]:
    """LLaDA's low-confidence sampler (arXiv 2502.09992, algorithm 5), one token a row and step.

    first: [B], where the masks of a row begin. Yields the canvas [B, L] after each step.
    """
    ids = ids.clone()
    place = torch.arange(ids.shape[1])
    for step in range(num_steps):
        stop = first + (step // block_length + 1) * block_length
        logits = model(input_ids=ids, attention_mask=attention_mask).logits
        logits[..., mask_token_id] = NEVER
        tokens = with_gumbel_noise(logits, temperature).argmax(dim=-1)
        probs = logits.softmax(dim=-1).gather(-1, tokens[..., None]).squeeze(-1)
        allowed = (ids == mask_token_id) & (place < stop[:, None])
        surest = probs.masked_fill(~allowed, NEVER).argmax(dim=1, keepdim=True)
        ids.scatter_(1, surest, tokens.gather(1, surest))
        yield ids.clone()


def with_gumbel_noise(logits: Tensor, temperature: float) -> Tensor:
    """The maximum of the result is a draw from softmax(logits / temperature); float64 noise on
    each of the B x L x V logits."""
    if temperature == 0:
        return logits
    exact = logits.double()
    noise = torch.rand_like(exact)
    return exact.exp() / (-noise.log()) ** temperature


@torch.no_grad()
def subset_logprobs(
    model: nn.Module,
    context: Sequence[int],
    continuation: Sequence[int],
    masked: Tensor,
    *,
    mask_token_id: int,
) -> Tensor:
    """f(S) = sum over i in S of log p(x_i | context, x without S), for each row of `masked`
    [R, length of the continuation]."""
    clean = torch.tensor(continuation)
    noisy = torch.where(masked, mask_token_id, clean)
    ids = torch.cat([torch.tensor(context).expand(len(noisy), -1), noisy], dim=1)
    logits = model(input_ids=ids).logits
    logits[..., mask_token_id] = NEVER
    logprobs = logits.log_softmax(dim=-1)[:, len(context) :]
    found = logprobs.gather(-1, clean.expand(len(noisy), -1)[..., None]).squeeze(-1)
    return torch.where(masked, found, 0.0).sum(dim=1)


def uniform_size_masks(length: int, num_draws: int, generator: torch.Generator) -> Tensor:
    """Subsets for the estimate (L / k) x f(S): the size k uniform in 1..L, the set given it."""
    size = torch.randint(1, length + 1, (num_draws, 1), generator=generator)
    rank = torch.rand(num_draws, length, generator=generator).argsort(dim=1).argsort(dim=1)
    return rank < size


def uniform_size_estimate(sums: Tensor, masked: Tensor) -> Tensor:
    """LLaDA (arXiv 2502.09992), eq. 6: mean over the draws (last dimension of sums) of (L / k) x
    f(S)."""
    return (sums * masked.shape[-1] / masked.sum(dim=-1)).mean(dim=-1)
