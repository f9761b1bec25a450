"""Demonstrated faults of public systems for this job, each shown not to occur here."""

import itertools
import math

import pytest
import torch
from torch import Tensor

import diffutron
from diffutron.diffusion.likelihood.any_order import score_continuations
from diffutron.diffusion.likelihood.subsets import plan_subsets
from diffutron.diffusion.process.loss import weighted_nll
from diffutron.diffusion.sampling.denoise import denoise
from diffutron.diffusion.sampling.settings import Settings
from diffutron.inference.prompts import end_finder


@pytest.fixture(scope="module")
def lm(tiny_model_dir):
    return diffutron.load(tiny_model_dir, device="cpu")


def plain_logprobs(lm, ids: list[int], place: int) -> Tensor:
    """log p at a position from the whole model, without the mask token."""
    with torch.no_grad():
        logits = lm.model(input_ids=torch.tensor([ids])).logits[0, place].double()
    logits[lm.mask_token_id] = -math.inf
    return logits.log_softmax(0)


def test_one_token_choices_are_scored_as_themselves_in_mid_prompt(lm) -> None:
    """The end token that the tokenizer adds neither ends the context nor stands for the choice."""
    begin, end = lm.tokenizer("x")["input_ids"][0], lm.tokenizer("x")["input_ids"][-1]
    pairs = [("Cevap:", choice) for choice in ("A", "B", "C", "D", "E")]
    scores = diffutron.score(lm, pairs)
    context = lm.tokenizer("Cevap:", add_special_tokens=False)["input_ids"]
    canvas = [begin, *context, lm.mask_token_id]
    assert end not in canvas
    logprobs = plain_logprobs(lm, canvas, len(canvas) - 1)
    for (_, choice), score in zip(pairs, scores, strict=True):
        (token,) = lm.tokenizer(choice, add_special_tokens=False)["input_ids"]
        assert score.logprob == pytest.approx(float(logprobs[token]), abs=1e-4)
    assert len({round(score.logprob, 6) for score in scores}) == 5


@pytest.mark.parametrize("length", [4, 8, 12])
@pytest.mark.parametrize("max_rows", [8, 13])
def test_every_size_of_mask_counts_the_same(length: int, max_rows: int) -> None:
    """With f(S) = |S| [ |S| = k ] the bound is 1 for each k: no size is drawn too often."""
    totals = torch.zeros(length, dtype=torch.float64)
    n = 150
    for seed in range(n):
        plan = plan_subsets(length, max_rows=max_rows, seed=seed)
        sizes = plan.masked.sum(dim=1)
        for k in range(1, length + 1):
            totals[k - 1] += plan.estimate(torch.where(sizes == k, sizes, 0).double())[0]
    assert float((totals / n - 1).abs().max()) < 0.5
    assert float(totals.sum() / n) == pytest.approx(length)


def test_accumulated_micro_batches_add_up() -> None:
    nll = torch.rand(8, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(8, dtype=torch.float64)
    whole = weighted_nll(nll, weight, normalizer=40)
    (expected,) = torch.autograd.grad(whole, nll)
    for parts in (2, 4, 8):
        pieces = [
            weighted_nll(n, w, normalizer=40)
            for n, w in zip(nll.chunk(parts), weight.chunk(parts), strict=True)
        ]
        (got,) = torch.autograd.grad(sum(pieces), nll)
        torch.testing.assert_close(got, expected)


def test_evaluation_and_scoring_use_fixed_draws(lm) -> None:
    text = "Kedi bahçede uyuyor, köpek evde bekliyor."
    assert diffutron.nelbo(lm, [text]) == diffutron.nelbo(lm, [text])
    pair = [("Kedi", " bahçede uyuyor, köpek evde bekliyor.")]
    first = diffutron.score(lm, pair, max_rows=4)
    torch.manual_seed(123)
    assert diffutron.score(lm, pair, max_rows=4) == first
    assert diffutron.score(lm, pair, max_rows=4, seed=1) != first


def test_the_stop_check_does_not_read_the_prompt(lm) -> None:
    end = lm.tokenizer.eos_token_id
    prompt = [*lm.tokenizer("Kedi")["input_ids"], end, end]
    (found,) = diffutron.generate(lm, [prompt], max_new_tokens=4, suppress=(end,))
    assert len(found.token_ids) == 4
    marked = "Kedi [/Answer] bahçede"
    (found,) = diffutron.generate(lm, [marked], max_new_tokens=4, chat=False, suppress=(end,))
    assert len(found.token_ids) == 4
    assert (
        end_finder(lm.tokenizer)(lm.tokenizer(" Kedi", add_special_tokens=False)["input_ids"])
        is None
    )


def test_a_prompt_with_an_end_token_means_the_same_alone_and_twice(lm) -> None:
    end = lm.tokenizer.eos_token_id
    prompt = [*lm.tokenizer("Kedi bahçede")["input_ids"], 20, end, 30]
    options = {"max_new_tokens": 6, "suppress": (end,)}
    alone = diffutron.generate(lm, [prompt], **options)[0].token_ids
    twice = diffutron.generate(lm, [prompt, prompt, [2, 20]], **options)
    assert twice[0].token_ids == twice[1].token_ids == alone


def test_guidance_works_on_batches_of_unequal_prompts(make_table) -> None:
    table = make_table(5)
    canvases = [[0, 1, *[4] * 5], [2, *[4] * 3], [4] * 6]
    settings = Settings(num_steps=3, guidance=1.0)
    options = {"mask_token_id": 4, "pad_token_id": 0, "settings": settings}
    together = denoise(table.logits_fn, canvases, **options)
    alone = [denoise(table.logits_fn, [canvas], **options)[0] for canvas in canvases]
    assert together == alone


def test_a_length_that_the_block_does_not_divide_is_a_clear_error(lm) -> None:
    with pytest.raises(ValueError, match="block_length=4 must divide max_new_tokens=6"):
        diffutron.generate(lm, ["Kedi"], max_new_tokens=6, block_length=4)


def test_the_mask_token_is_never_predicted(make_table) -> None:
    table = make_table(5)

    def adamant(ids: Tensor, _mask: Tensor | None, positions: Tensor) -> Tensor:
        return torch.tensor([0.0, 0.1, 0.2, 0.3, 1e4]).repeat(int(positions.sum()), 1)

    (row,) = denoise(
        adamant, [[0, *[4] * 16]], mask_token_id=4, pad_token_id=0, settings=Settings(num_steps=16)
    )
    assert row.token_ids == [3] * 16
    assert table.calls == 0


def test_a_mask_in_the_context_is_no_target(table) -> None:
    """It stays hidden; only the continuation is scored, as the equation has it."""
    context, x = [1, table.mask, 0], [2, 1]
    (score,) = score_continuations(
        table.logprob_fn, [(context, x)], mask_token_id=table.mask, pad_token_id=0
    )
    assert score.logprob == pytest.approx(table.bound(context, x))
    assert score.num_tokens == 2


def test_prompts_are_whole_and_unended_whatever_the_tokenizer_adds(lm) -> None:
    from diffutron.inference.prompts import encode

    class Bare:
        """The same tokenizer, but one that adds neither begin nor end token."""

        def __init__(self, tokenizer) -> None:
            self.tokenizer = tokenizer

        def __call__(self, text, **options):
            options["add_special_tokens"] = False
            return self.tokenizer(text, **options)

        def __getattr__(self, name: str):
            return getattr(self.tokenizer, name)

    ids = lm.tokenizer("Kedi bahçede", add_special_tokens=False)["input_ids"]
    assert encode(Bare(lm.tokenizer), ["Kedi bahçede"], chat=False) == [ids]
    assert encode(lm.tokenizer, ["Kedi bahçede"], chat=False) == [[lm.tokenizer.bos_token_id, *ids]]
    (chat,) = encode(lm.tokenizer, ["Kedi bahçede"], chat=True)
    assert lm.tokenizer.eos_token_id not in chat
    assert lm.tokenizer.decode(chat).endswith("[Answer]")


def test_the_number_of_new_tokens_is_kept_to(lm) -> None:
    (found,) = diffutron.generate(lm, ["Kedi"], max_new_tokens=3, suppress=(1,))
    assert len(found.token_ids) == 3


@pytest.mark.parametrize("max_rows", [2, 3])
@pytest.mark.parametrize("batch_size", [1, 32])
def test_few_draws_fit_any_batch(lm, max_rows: int, batch_size: int) -> None:
    pair = [("Kedi", " bahçede uyuyor")]
    (score,) = diffutron.score(lm, pair, max_rows=max_rows, batch_size=batch_size)
    assert score.num_rows == max_rows


def test_empty_sides_and_long_items_are_scored(lm) -> None:
    long = "Kedi bahçede uyuyor. " * 40
    pairs = [("", "Kedi"), ("Kedi", ""), ("", ""), (long, " Kedi"), ("Kedi", long), ("Kedi", " ev")]
    scores = diffutron.score(lm, pairs, max_rows=4)
    assert all(math.isfinite(score.logprob) for score in scores)
    assert (scores[1].logprob, scores[2].num_tokens) == (0.0, 0)
    assert scores[3].num_dropped > 0
    assert scores[4].num_tokens > lm.max_length
    (alone,) = diffutron.score(lm, [pairs[5]], max_rows=4)
    assert scores[5].logprob == pytest.approx(alone.logprob, abs=1e-4)


def test_rolling_likelihood_of_a_long_text(lm) -> None:
    text = "Kedi bahçede uyuyor, köpek evde bekliyor. " * 20
    (bound,) = diffutron.nelbo(lm, [text], num_samples=4, max_length=60)
    ids = lm.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert bound.num_tokens == len(ids)
    assert 0 < bound.nats < 20 * len(ids)


def test_a_straddling_token_is_encoded_apart_and_counted(lm) -> None:
    whole = "Ankara'dan"
    cuts = [diffutron.score(lm, [(whole[:n], whole[n:])])[0] for n in range(1, len(whole))]
    assert any(score.split_token for score in cuts)
    for n, score in enumerate(cuts, start=1):
        apart = lm.tokenizer(whole[n:], add_special_tokens=False)["input_ids"]
        if score.split_token:
            assert score.num_tokens == len(apart)


def test_the_law_of_a_two_token_choice_is_normalized(table) -> None:
    """exp(bound) over all continuations sums to at most one, for the order mixture to exactly
    one.
    """
    items = [([1], list(x)) for x in itertools.product(range(3), repeat=2)]
    scores = score_continuations(table.logprob_fn, items, mask_token_id=table.mask, pad_token_id=0)
    assert sum(math.exp(score.logprob) for score in scores) <= 1 + 1e-12
