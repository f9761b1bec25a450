"""What is drawn: tokens by their softmax, and whole texts of a model whose posterior is known."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from diffutron.diffusion.process.noise import uniform
from diffutron.diffusion.sampling.denoise import denoise
from diffutron.diffusion.sampling.settings import Settings
from diffutron.diffusion.sampling.token_choice import draw_tokens, keep_top_


@pytest.mark.parametrize("vocab", [3, 512, 1500])
def test_drawn_tokens_follow_the_softmax(vocab: int) -> None:
    n = 40_000
    logits = torch.randn(vocab, generator=torch.Generator().manual_seed(1)) * 2
    logits[1] = -math.inf
    tokens = draw_tokens(logits.expand(n, -1), uniform(0, torch.arange(n)))
    probs = logits.double().softmax(0)
    observed = torch.bincount(tokens, minlength=vocab)
    assert observed[1] == 0
    common = probs * n >= 5
    rare = ~common
    counts = torch.cat([observed[common].double(), observed[rare].sum()[None].double()])
    expected = torch.cat([probs[common], probs[rare].sum()[None]]) * n
    keep = expected > 1e-9
    chi2 = float(((counts - expected)[keep] ** 2 / expected[keep]).sum())
    df = int(keep.sum()) - 1
    assert chi2 < df + 4 * math.sqrt(2 * df) + 4


def test_the_ends_of_the_unit_interval_draw_possible_tokens() -> None:
    logits = torch.full((2, 1200), -math.inf)
    logits[:, 700] = 0.0
    logits[:, 3] = -80.0
    extremes = torch.tensor([2.0**-53, 1 - 2.0**-53], dtype=torch.float64)
    assert draw_tokens(logits, extremes).tolist() in ([3, 700], [700, 700])


def test_top_k_and_top_p() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    kept = logits.clone()
    keep_top_(kept, top_k=3, top_p=1.0)
    assert kept.isfinite().tolist() == [[True, True, True, False]]
    kept = logits.clone()
    keep_top_(kept, top_k=None, top_p=0.75)
    assert kept.isfinite().tolist() == [[True, True, False, False]]
    keep_top_(kept, top_k=1, top_p=0.01)
    assert kept.isfinite().tolist() == [[True, False, False, False]]


class HiddenMarkov:
    """A hidden Markov model over texts of 3 tokens.

    Its posterior at every mask is known exactly.
    """

    vocab, length = 3, 3

    def __init__(self) -> None:
        start = torch.tensor([0.6, 0.4], dtype=torch.float64)
        move = torch.tensor([[0.9, 0.1], [0.25, 0.75]], dtype=torch.float64)
        emit = torch.tensor([[0.7, 0.2, 0.1], [0.05, 0.25, 0.7]], dtype=torch.float64)
        self.joint = torch.einsum("a,ab,bc,ax,by,cz->xyz", start, move, move, emit, emit, emit)

    def logits_fn(self, ids: Tensor, attention_mask: Tensor | None, positions: Tensor) -> Tensor:
        """The prompt (anything before the last 3 tokens of a row) is ignored."""
        row, place = positions.nonzero(as_tuple=True)
        ends = torch.full((len(ids),), ids.shape[1])
        ends = ends if attention_mask is None else attention_mask.sum(dim=1)
        first = ends - self.length
        state = ids.gather(1, first[:, None] + torch.arange(3))[row]
        return self.table()[state[:, 0], state[:, 1], state[:, 2], place - first[row]].log()

    def table(self) -> Tensor:
        """[4, 4, 4, position, token]: p(token | the visible ones); 3 stands for a mask."""
        found = torch.zeros(4, 4, 4, 3, 4, dtype=torch.float64)
        for state in itertools.product(range(4), repeat=3):
            index = tuple(slice(None) if s == 3 else slice(s, s + 1) for s in state)
            seen = torch.zeros_like(self.joint)
            seen[index] = self.joint[index]
            for place in range(3):
                marginal = seen.sum(dim=[d for d in range(3) if d != place])
                found[state][place, :3] = marginal / marginal.sum()
        return found


RIGHT = {
    "random, one token a step": {"strategy": "random"},
    "margin, one token a step": {"strategy": "margin"},
    "entropy, one token a step": {"strategy": "entropy"},
    "left to right (blocks of one)": {"block_length": 1},
}
WRONG = {
    "low confidence, one token a step": {"strategy": "low_confidence"},
    "random, all tokens in one step": {"strategy": "random", "num_steps": 1},
    "random, two tokens in the first step": {"strategy": "random", "num_steps": 2},
    "random, remasking": {"strategy": "random", "remask": 1.0, "num_steps": 6},
    "random, temperature 0.7": {"strategy": "random", "temperature": 0.7},
    "random, top-p 0.8": {"strategy": "random", "top_p": 0.8},
}


@pytest.fixture(scope="module")
def hidden_markov() -> HiddenMarkov:
    model = HiddenMarkov()
    fixed = model.table()
    model.table = lambda: fixed
    return model


def chi_squared(model: HiddenMarkov, **settings) -> float:
    """Of 6000 drawn texts against the model's own distribution; 26 degrees of freedom."""
    counts = torch.zeros(3, 3, 3, dtype=torch.float64)
    canvases = [[0] * offset + [3] * 3 for offset in range(60)]  # noise is keyed by position
    for seed in range(100):
        rows = denoise(
            model.logits_fn,
            canvases,
            mask_token_id=3,
            pad_token_id=0,
            settings=Settings(**{"num_steps": 3, "temperature": 1.0, **settings}),
            seed=seed,
            batch_rows=60,
        )
        texts = torch.tensor([row.token_ids for row in rows])
        counts.index_put_(tuple(texts.T), torch.ones(len(texts)).double(), accumulate=True)
    expected = model.joint * counts.sum()
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("name", RIGHT)
def test_samplers_that_draw_from_the_model(hidden_markov, name: str) -> None:
    assert chi_squared(hidden_markov, **RIGHT[name]) < 58  # p = 0.0003


@pytest.mark.parametrize("name", WRONG)
def test_samplers_that_do_not(hidden_markov, name: str) -> None:
    """Useful, but not samples of the model's distribution: the docs say so."""
    assert chi_squared(hidden_markov, **WRONG[name]) > 80  # p < 1e-6
