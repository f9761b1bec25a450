"""Two estimates of the any-order bound of eight tokens at equal rows, replayed from the values of
all subsets on a small model that has learned a Markov chain."""

import math

import torch
from torch import Tensor, nn

from benchmarks.parts import plain
from benchmarks.parts.shapes import FIRST_TOKEN, MASK, Shape, new_model
from diffutron.diffusion.likelihood.subsets import plan_subsets
from diffutron.diffusion.process.loss import weighted_nll
from diffutron.modeling.head import head_nll, run_encoder
from diffutron.runtime.progress import track

STATES, CONTEXT, LENGTH, DRAWS = 8, 8, 8, 128
STEPS, BATCH = 300, 32
REPLAYS = 20_000
CHAIN = Shape(FIRST_TOKEN + STATES, 64, 2, 2, 96, 0)


def eight_token_row() -> dict:
    """Bias, as a z score, and variance over `REPLAYS` seeds.

    speedup: rows that uniform sizes need for the error of ours, over ours. max_abs_diff: of our
    mean to the exact value, in nats. Memory and share of the peak say nothing here.
    """
    exact, sums = subset_values()
    ours = our_estimates(sums)
    theirs = uniform_estimates(sums)
    ratio = float(ours.var() / theirs.var())
    return {
        "case": "choice8",
        "speedup": round(1 / ratio, 3),
        "memory_ratio": None,
        "peak_share": None,
        "max_abs_diff": abs(float(ours.mean()) - exact),
        "variance_ratio": round(ratio, 4),
        "z": round(z_score(ours, exact), 3),
        "plain_z": round(z_score(theirs, exact), 3),
        "exact_nats": round(exact, 5),
        "rows": DRAWS,
        "replays": REPLAYS,
    }


def z_score(estimates: Tensor, exact: float) -> float:
    error = float(estimates.std()) / math.sqrt(len(estimates))
    return (float(estimates.mean()) - exact) / error


def subset_values() -> tuple[float, Tensor]:
    """The exact bound, and f(S) of each of the 255 subsets by their bits, float64 [256]."""
    chain = markov_chain()
    model = trained_model(chain)
    text = walk(chain, 1, torch.Generator().manual_seed(7))[0].tolist()
    bits = 1 << torch.arange(LENGTH)
    masked = (torch.arange(1, 2**LENGTH)[:, None] & bits) != 0
    values = plain.subset_logprobs(
        model, text[:CONTEXT], text[CONTEXT:], masked, mask_token_id=MASK
    ).double()
    size = masked.sum(dim=1)
    exact = sum(float((values[size == k] / k).mean()) for k in range(1, LENGTH + 1))
    return exact, torch.cat([torch.zeros(1, dtype=torch.float64), values])


def markov_chain() -> Tensor:
    """Probabilities of the next state [STATES, STATES]: peaked, so that neighbors tell much."""
    generator = torch.Generator().manual_seed(3)
    return (2.5 * torch.randn(STATES, STATES, generator=generator)).softmax(dim=1)


def walk(chain: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """Token ids [number, CONTEXT + LENGTH] of paths of the chain."""
    states = [torch.randint(0, STATES, (number,), generator=generator)]
    while len(states) < CONTEXT + LENGTH:
        states.append(torch.multinomial(chain[states[-1]], 1, generator=generator).squeeze(1))
    return FIRST_TOKEN + torch.stack(states, dim=1)


def trained_model(chain: Tensor) -> nn.Module:
    """A masked diffusion model of the chain: uniform mask counts, the weight 1 / count."""
    model = new_model(CHAIN)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(5)
    for _ in range(STEPS):
        clean = walk(chain, BATCH, generator)
        masked = plain.uniform_size_masks(clean.shape[1], BATCH, generator)
        hidden = run_encoder(model, clean.masked_fill(masked, MASK))[masked]
        weight = (1 / masked.sum(dim=1))[:, None].expand_as(masked)[masked]
        nll = head_nll(model, hidden, clean[masked], weight, mask_token_id=MASK)
        optimizer.zero_grad()
        weighted_nll(nll, weight, normalizer=BATCH).backward()
        optimizer.step()
    return model.eval()


def our_estimates(sums: Tensor) -> Tensor:
    """The stratified plan of `diffusion.subsets` for each seed, float64 [REPLAYS]."""
    bits = 1 << torch.arange(LENGTH)
    found = torch.empty(REPLAYS, dtype=torch.float64)
    for seed in track(range(REPLAYS), total=REPLAYS, desc="choice8", unit="replay"):
        plan = plan_subsets(LENGTH, max_rows=DRAWS, seed=seed)
        found[seed] = plan.estimate(sums[(plan.masked * bits).sum(dim=1)])[0]
    return found


def uniform_estimates(sums: Tensor) -> Tensor:
    """The plain estimate from as many rows, float64 [REPLAYS]."""
    masked = plain.uniform_size_masks(
        LENGTH, REPLAYS * DRAWS, torch.Generator().manual_seed(11)
    ).view(REPLAYS, DRAWS, LENGTH)
    bits = 1 << torch.arange(LENGTH)
    return plain.uniform_size_estimate(sums[(masked * bits).sum(dim=-1)], masked)
