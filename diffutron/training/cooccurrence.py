"""Token vectors out of neighbor counts: where the embeddings of a new encoder can begin.

A small model spends most of a short training on which tokens stand beside each other. Counts tell
it in seconds: positive pointwise mutual information, factored (Levy and Goldberg, "Neural Word
Embedding as Implicit Matrix Factorization", NeurIPS 2014), with the smoothed contexts and the
symmetric square root of Levy, Goldberg and Dagan ("Improving Distributional Similarity with
Lessons Learned from Word Embeddings", TACL 2015, sections 3.2 and 3.3).

Shapes: V vocabulary, H size of a vector, T tokens.
"""

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from diffutron.data.token_store import Samples

MOST_TOKENS = 20_000_000  # whose neighbors are counted; more change little and cost memory
CONTEXT_POWER = 0.75  # of a context's frequency (Levy, Goldberg and Dagan)
EXTRA, ROUNDS = 40, 3  # of the randomized factorization (Halko et al., arXiv 0909.4061)


def cooccurrence_vectors(
    samples: Samples, *, vocab_size: int, size: int, window: int, seed: int
) -> Tensor:
    """Vectors [V, H] of unit length; the inner product of two says how often they are neighbors.

    A pair of tokens at a distance of d <= `window` in one sample counts 1/d. A token that has no
    neighbor keeps a vector of zeros.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch calls its sparse tensors a beta
        torch.manual_seed(seed)
        information = _positive_information(_neighbor_counts(samples, vocab_size, window))
        rank = min(size + EXTRA, vocab_size)
        left, values, _ = torch.svd_lowrank(information, q=rank, niter=ROUNDS)
        # Rotated, so that no single dimension holds what all tokens share.
        rotation = torch.linalg.qr(torch.randn(size, size))[0]
    kept = min(size, rank)
    vectors = left[:, :kept] * values[:kept].sqrt()
    known = vectors.norm(dim=1) > 1e-6
    vectors[known] -= vectors[known].mean(dim=0)
    vectors = nn.functional.pad(vectors, (0, size - kept)) @ rotation
    return nn.functional.normalize(vectors, dim=1) * known[:, None]


def _neighbor_counts(samples: Samples, vocab_size: int, window: int) -> Tensor:
    """Symmetric, sparse [V, V]."""
    ids = torch.from_numpy(np.asarray(samples.ids[:MOST_TOKENS]).astype(np.int64))
    sample = torch.from_numpy(np.repeat(np.arange(len(samples)), samples.length)[: len(ids)])
    shape = vocab_size, vocab_size
    counts = torch.sparse_coo_tensor(torch.empty(2, 0, dtype=torch.int64), torch.empty(0), shape)
    for distance in range(1, window + 1):
        together = sample[distance:] == sample[:-distance]
        pairs = torch.stack([ids[:-distance][together], ids[distance:][together]])
        once = torch.full((pairs.shape[1],), 1.0 / distance)
        for places in (pairs, pairs.flip(0)):
            counts = counts + torch.sparse_coo_tensor(places, once, shape)
            counts = counts.coalesce()
    return counts


def _positive_information(counts: Tensor) -> Tensor:
    """log of how much more often a pair stands together than by chance, where that is above 0."""
    (rows, columns), number = counts.indices(), counts.values()
    total = torch.sparse.sum(counts, dim=1).to_dense()
    context = total**CONTEXT_POWER
    information = (number / total[rows] / (context / context.sum())[columns]).log()
    above = information > 0
    places = torch.stack([rows[above], columns[above]])
    return torch.sparse_coo_tensor(places, information[above], counts.shape).to_sparse_csr()
