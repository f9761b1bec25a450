"""Which subsets of a continuation to mask when its any-order bound is computed.

The bound of L tokens is the sum over sizes k = 1..L of the mean, over subsets S of size k, of
f(S) / k. A plan is a stratified sample of the subsets, the sizes being the strata: a stratum
whose subsets all fit is enumerated and has no error, the others are drawn without repetition, at
least two draws each, so that their spread gives a standard error (Cochran, "Sampling Techniques",
3rd ed., eq. 5.6 and 5.13: stratified simple random sampling).

Shapes: R rows (masked copies of the continuation), L its length.
"""

import functools
import heapq
import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffutron.diffusion.process.noise import hash_keys, uniform

_SIZE, _SUBSET = 1, 2  # one stream of random numbers each


@dataclass(frozen=True, slots=True)
class Stratum:
    """Rows of the plan that share a range of sizes."""

    rows: slice
    num_sizes: int
    population: float  # number of subsets; infinite where draws may repeat

    def moments(self, values: Tensor) -> tuple[float, float]:
        """Contribution to the estimate and to its variance from the rows' f(S) / k."""
        drawn = values[self.rows]
        mean = float(drawn.mean()) * self.num_sizes
        unseen = 1 - len(drawn) / self.population
        if unseen <= 0:
            return mean, 0.0
        return mean, float(drawn.var()) * self.num_sizes**2 * unseen / len(drawn)


@dataclass(frozen=True, slots=True)
class Plan:
    """Rows to evaluate, bool [R, L] (True = masked), and how they add up."""

    masked: Tensor
    strata: tuple[Stratum, ...]
    exact: bool

    def estimate(self, sums: Tensor) -> tuple[float, float]:
        """The bound and its standard error from f(S) of each row [R], float64."""
        values = sums / self.masked.sum(dim=1)
        moments = [stratum.moments(values) for stratum in self.strata]
        return math.fsum(m for m, _ in moments), math.sqrt(math.fsum(v for _, v in moments))


@functools.lru_cache(maxsize=64)
def plan_subsets(length: int, *, max_rows: int, seed: int) -> Plan:
    """The plan for a continuation of `length` >= 1 tokens: every subset if 2^length - 1 <=
    max_rows.

    It depends on the three arguments alone, so texts of one length share it. Raises ValueError
    where a sample would have no spread.
    """
    if 2**length - 1 <= max_rows:
        return _exact_plan(length)
    if max_rows < 2:
        raise ValueError(
            f"max_rows={max_rows}: {length} tokens have {2**length - 1} subsets, and a sample of "
            "them needs at least 2 rows"
        )
    if 2 * length - 1 > max_rows:
        return _grouped_plan(length, max_rows=max_rows, seed=seed)
    return _stratified_plan(length, _allocate(length, max_rows), seed=seed)


@functools.lru_cache(maxsize=16)
def _exact_plan(length: int) -> Plan:
    every = {k: math.comb(length, k) for k in range(1, length + 1)}
    return _stratified_plan(length, every, seed=0)


def _stratified_plan(length: int, draws: dict[int, int], *, seed: int) -> Plan:
    rows: list[Tensor] = []
    strata: list[Stratum] = []
    start = 0
    drawn = _draw_rare(length, draws, seed=seed)
    for k, num_draws in draws.items():
        rows.append(drawn[k] if k in drawn else _draw_listed(length, k, num_draws, seed=seed))
        strata.append(Stratum(slice(start, start + num_draws), 1, math.comb(length, k)))
        start += num_draws
    return Plan(torch.cat(rows), tuple(strata), exact=start == 2**length - 1)


@functools.lru_cache(maxsize=512)
def _allocate(length: int, max_rows: int) -> dict[int, int]:
    """Draws for each size: two (or all) to begin with, then each row where it cuts the variance
    most.

    The variance of f(S) / k is taken as 1 / k, that of a mean over k tokens, so a row added to n
    draws of a stratum cuts 1 / (k n (n + 1)).
    """
    draws = {k: min(2, math.comb(length, k)) for k in range(1, length + 1)}
    gains = [(-1 / (k * n * (n + 1)), k) for k, n in draws.items() if n < math.comb(length, k)]
    heapq.heapify(gains)
    for _ in range(max_rows - sum(draws.values())):
        _, k = heapq.heappop(gains)
        draws[k] += 1
        if draws[k] < math.comb(length, k):
            heapq.heappush(gains, (-1 / (k * draws[k] * (draws[k] + 1)), k))
    return draws


def _draw_listed(length: int, k: int, num_draws: int, *, seed: int) -> Tensor:
    """`num_draws` different subsets of size k, uniformly, from the list of all.

    Bool [num_draws, L].
    """
    listed = torch.tensor(list(itertools.combinations(range(length), k)))
    keys = hash_keys(seed, _SUBSET, length, k, torch.arange(len(listed)))
    chosen = listed[keys.argsort(stable=True)[:num_draws].sort().values]
    return torch.zeros(num_draws, length, dtype=torch.bool).scatter(1, chosen, True)


def _draw_rare(length: int, draws: dict[int, int], *, seed: int) -> dict[int, Tensor]:
    """The same for all sizes with many more subsets than draws: repeated ones are thrown away."""
    rare = [k for k, n in draws.items() if math.comb(length, k) > 8 * n]
    found: dict[int, Tensor] = {}
    spare = 4
    while len(found) < len(rare):
        tries = {k: draws[k] + spare for k in rare}
        sizes = [k for k, n in tries.items() for _ in range(n)]
        attempts = [j for n in tries.values() for j in range(n)]
        rows = _subsets(torch.tensor(sizes), torch.tensor(attempts), length, seed)
        for k, part in zip(rare, torch.split(rows, list(tries.values())), strict=True):
            first = {row.numpy().tobytes(): j for j, row in reversed([*enumerate(part)])}
            if len(first) >= draws[k]:
                found[k] = part[torch.tensor(sorted(first.values())[: draws[k]])]
        spare *= 4
    return found


def _subsets(sizes: Tensor, attempts: Tensor, length: int, seed: int) -> Tensor:
    """Uniform subsets of the given sizes [R], as bool [R, L], by the order of random keys."""
    token = torch.arange(length)
    sizes = sizes[:, None]
    keys = hash_keys(hash_keys(seed, _SUBSET, length, sizes, attempts[:, None]), token)
    order = keys.argsort(dim=1, stable=True)
    return torch.zeros_like(order, dtype=torch.bool).scatter(1, order, token < sizes)


def _grouped_plan(length: int, *, max_rows: int, seed: int) -> Plan:
    """For texts with more sizes than draws.

    Ranges of sizes are the strata: a draw takes a size uniformly from its range, then a subset
    uniformly. The full mask is enumerated if there is a row for it.
    """
    full = max_rows >= 3
    last = length - 1 if full else length
    num_groups, odd = divmod(max_rows - full, 2)
    edges = [1 + last * g // num_groups for g in range(num_groups + 1)]
    owner: list[int] = []
    strata: list[Stratum] = []
    for g, (low, high) in enumerate(itertools.pairwise(edges)):
        draws = 3 if odd and g == 0 else 2
        strata.append(Stratum(slice(len(owner), len(owner) + draws), high - low, math.inf))
        owner += [g] * draws
    group = torch.tensor(owner)
    low, high = torch.tensor(edges)[group], torch.tensor(edges)[group + 1]
    place = uniform(seed, _SIZE, length, torch.arange(len(owner)))
    sizes = low + (place * (high - low)).to(torch.int64)
    if full:
        strata.append(Stratum(slice(len(owner), len(owner) + 1), 1, 1))
        sizes = torch.cat([sizes, torch.tensor([length])])
    return Plan(_subsets(sizes, torch.arange(len(sizes)), length, seed), tuple(strata), exact=False)
