"""The same data and noise whatever the number of ranks, rows and micro-batches."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffutron.data.token_store import Samples, windows
from diffutron.diffusion.process.loss import Objective, masked_diffusion, weighted_nll
from diffutron.modeling.encoder import load_model
from diffutron.training.batches import (
    ROUND_MASKED,
    ROUND_WIDTH,
    EosFill,
    Layout,
    Replay,
    TrainingSet,
    batches_ahead,
    divide,
    epoch_order,
    evaluation_batches,
    steps_per_epoch,
    training_batch,
)
from diffutron.training.trainer import MaskedLoss
from tests.support.varlen import each_sample

MASK, PAD, EOS = 4, 0, 1


NORMALIZE = pytest.mark.parametrize("normalize", ["token", "answer"])


def make_data(lengths, *, eos_fill=None, max_tokens=10**6, normalize="token") -> TrainingSet:
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    samples = windows(np.arange(bounds[-1]) % 300 + 20, bounds, max_tokens=10**6)
    return TrainingSet(
        samples, masked_diffusion("linear"), 7, MASK, PAD, eos_fill, max_tokens, normalize
    )


def noisy_samples(data: TrainingSet, step: int, *, world_size: int, **layout: int):
    """Every sample of a step as (noisy ids, weight of each masked token), by all ranks."""
    found = []
    for rank in range(world_size):
        batch = training_batch(
            data, step, batch_size=8, layout=Layout(rank=rank, world_size=world_size, **layout)
        )
        for micro in batch.micro_batches:
            if micro.weights.abs().sum() == 0:
                continue
            weights = torch.zeros(micro.noisy_ids.numel()).index_put(
                (micro.masked_at,), micro.weights
            )
            weights = weights.view_as(micro.noisy_ids)
            for row in range(len(micro.segment)):
                for number in range(int(micro.segment[row].max()) + 1):
                    mine = micro.segment[row] == number
                    found.append((micro.noisy_ids[row][mine].tolist(), weights[row][mine].tolist()))
    return sorted(found)


@NORMALIZE
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(2, 30), min_size=1, max_size=20),
    st.integers(0, 4),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(2, 60),
)
def test_noise_does_not_depend_on_the_layout(
    normalize, lengths, step, world_size, micro_batch_rows, packed_length
):
    data = make_data(lengths, eos_fill=EosFill(EOS, 3, 0.1), normalize=normalize)
    plain = noisy_samples(data, step, world_size=1, micro_batch_rows=100, packed_length=1)
    layout = {"micro_batch_rows": micro_batch_rows, "packed_length": packed_length}
    assert noisy_samples(data, step, world_size=world_size, **layout) == plain


def test_every_rank_has_as_many_micro_batches():
    data = make_data([20] * 5)
    layouts = [Layout(20, 2, rank, 3) for rank in range(3)]
    counts = [len(training_batch(data, 0, batch_size=5, layout=x).micro_batches) for x in layouts]
    assert counts == [1, 1, 1]
    data = make_data([20] * 7)
    layouts = [Layout(20, 1, rank, 3) for rank in range(3)]
    batches = [training_batch(data, 0, batch_size=7, layout=layout) for layout in layouts]
    assert [len(batch.micro_batches) for batch in batches] == [3, 3, 3]
    assert [batch.micro_batches[2].weights.sum() > 0 for batch in batches] == [True, False, False]


def test_a_wide_row_brings_fewer_neighbors():
    """Tokens of a micro-batch, padding counted, stay within rows x packed_length."""
    lengths = np.array([100, 10, 10, 40, 10, 200, 30])
    layout = Layout(50, 4, 0, 1)
    parts = divide([[i] for i in range(7)], lengths, layout)
    assert parts == [[[5]], [[0], [3]], [[6], [1], [2], [4]]]
    ranks = [divide([[i] for i in range(7)], lengths, Layout(50, 4, rank, 2)) for rank in (0, 1)]
    assert ranks == [[[[5]], [[3], [1], [4]]], [[[0], [6]], [[2]]]]


def test_an_epoch_visits_each_sample_once_and_the_last_batch_is_its_own_size():
    data = make_data([4] * 21)
    assert steps_per_epoch(21, 8) == 3
    layout = Layout(4, 100, 0, 1)
    batches = [training_batch(data, step, batch_size=8, layout=layout) for step in range(6)]
    assert [len(batch.lengths) for batch in batches] == [8, 8, 5] * 2
    assert [batch.normalizer for batch in batches[:3]] == [24, 24, 15]  # all but the begin token
    assert sorted(epoch_order(21, 7, 0).tolist()) == list(range(21))
    assert epoch_order(21, 7, 0).tolist() != epoch_order(21, 7, 1).tolist()
    assert epoch_order(21, 7, 0).tolist() != epoch_order(21, 8, 0).tolist()


@NORMALIZE
def test_what_is_replayed_adds_its_own_mean_loss_to_that_of_the_batch(normalize):
    """At any layout: the same noise and, by the normalizers, the same two losses."""
    rows, texts = make_data([5, 9, 30, 17] * 4, normalize=normalize), make_data([20, 60] * 5)
    both = replace(rows, replay=Replay(texts, 3, 0.5))
    assert rows.heldout(rows.samples) == both.heldout(rows.samples)
    for step, rank in product((0, 1, 3, 4), (0, 1)):
        layout = Layout(64, 2, rank, 2)
        alone = training_batch(rows, step, batch_size=8, layout=layout)
        again = training_batch(texts, step, batch_size=3, layout=layout)
        batch = training_batch(both, step, batch_size=8, layout=layout)
        assert batch.lengths.tolist() == [*alone.lengths, *again.lengths]
        assert len(batch.micro_batches) == len(alone.micro_batches) + len(again.micro_batches)
        replayed = [replace(m, normalizer=2 * m.normalizer) for m in again.micro_batches]
        for found, expected in zip(
            batch.micro_batches, alone.micro_batches + replayed, strict=True
        ):
            assert found.normalizer == expected.normalizer
            assert torch.equal(found.noisy_ids, expected.noisy_ids)
            assert torch.equal(found.weights, expected.weights)


def test_begin_token_and_padding_are_never_masked_and_every_sample_is():
    data = make_data([5, 9, 2, 30, 17])
    for step in range(6):
        batch = training_batch(data, step, batch_size=5, layout=Layout(32, 10, 0, 1))
        (micro,) = batch.micro_batches
        position = micro.position_ids.flatten()[micro.masked_at]
        segment = micro.segment.flatten()[micro.masked_at]
        assert (position > 0).all()
        assert (segment >= 0).all()
        assert (micro.noisy_ids.flatten()[micro.masked_at] == MASK).all()
        assert (micro.targets >= 20).all()
        starts = ((micro.segment >= 0) & (micro.position_ids == 0)).flatten().cumsum(0)
        assert set(starts[micro.masked_at].tolist()) == {1, 2, 3, 4, 5}


def test_end_fill_follows_the_sample_with_its_own_weight():
    eos_fill = EosFill(EOS, 3, 0.25)
    data, plain = make_data([6] * 64, eos_fill=eos_fill), make_data([6] * 64)
    layout = Layout(1, 1000, 0, 1)
    batch = training_batch(data, 0, batch_size=64, layout=layout)
    fill = batch.lengths - 6
    assert set(fill.tolist()) == {0, 1, 2, 3}
    assert batch.normalizer == 64 * 5 + 0.25 * fill.sum()
    assert training_batch(plain, 0, batch_size=64, layout=layout).normalizer == 64 * 5
    (micro,) = batch.micro_batches
    in_fill = micro.position_ids.flatten()[micro.masked_at] >= 6
    assert in_fill.any()
    assert (micro.targets[in_fill] == EOS).all()
    row = micro.masked_at // micro.noisy_ids.shape[1]
    for r in row[in_fill].unique():
        own, extra = micro.weights[(row == r) & ~in_fill], micro.weights[(row == r) & in_fill]
        if len(own):
            torch.testing.assert_close(extra, 0.25 * own[0].expand_as(extra))


def test_end_fill_stops_at_the_models_length():
    data = make_data([6] * 64, eos_fill=EosFill(EOS, 50, 0.1), max_tokens=10)
    lengths = training_batch(data, 0, batch_size=64, layout=Layout(1, 64, 0, 1)).lengths
    assert lengths.min() >= 6
    assert lengths.max() == 10


def test_evaluation_sees_all_samples_with_fixed_draws():
    data = make_data([5, 9, 2, 30, 17])
    layout = Layout(32, 10, 0, 1)
    first = evaluation_batches(data, batch_size=2, layout=layout)
    again = evaluation_batches(data, batch_size=2, layout=layout)
    assert [batch.lengths.tolist() for batch in first] == [[5, 9], [2, 30], [17]]
    for one, two in zip(first, again, strict=True):
        assert torch.equal(one.micro_batches[0].noisy_ids, two.micro_batches[0].noisy_ids)


EVERY_TOKEN = Objective("all are masked", False, lambda t: (torch.ones_like(t),) * 2)


@pytest.mark.parametrize(("normalize", "expected"), [("token", 28 / 6), ("answer", 4.0)])
def test_a_short_answer_counts_by_its_length_or_as_much_as_a_long_one(normalize, expected):
    """Answers of 2 and 4 tokens that cost 1 and 3, and 6 nats each: 28 nats, or means 2 and 6."""
    data = replace(make_data([3, 5], normalize=normalize), objective=EVERY_TOKEN)
    (micro,) = training_batch(data, 0, batch_size=2, layout=Layout(8, 2, 0, 1)).micro_batches
    nll = {20: 0.0, 21: 1.0, 22: 3.0, 23: 0.0}  # by token; the others belong to the second sample
    costs = torch.tensor([nll.get(int(token), 6.0) for token in micro.targets])
    loss = weighted_nll(costs, micro.weights, normalizer=micro.normalizer)
    assert float(loss) == pytest.approx(expected)


def test_the_end_fill_of_an_answer_shares_in_what_the_answer_counts():
    data = make_data([3, 9, 4], eos_fill=EosFill(EOS, 5, 0.25), normalize="answer")
    data = replace(data, objective=EVERY_TOKEN)
    found = noisy_samples(data, 0, world_size=1, packed_length=1, micro_batch_rows=9)
    assert sorted(sum(weights) for _, weights in found) == pytest.approx([1, 1, 1])
    assert sum(len(ids) for ids, _ in found) > 3 + 9 + 4, "a fill was drawn"


@NORMALIZE
@pytest.mark.parametrize("layouts", ["2 x 4", "8 x 1", "2 ranks"])
def test_gradients_match_one_large_micro_batch(layouts, normalize, tiny_model_dir):
    lengths = [12, 30, 9, 25, 30, 7, 19, 11, 28, 5]
    data = make_data(lengths, eos_fill=EosFill(EOS, 3, 0.1), normalize=normalize)
    loss = MaskedLoss(load_model(tiny_model_dir, made_by="backbone").double(), mask_token_id=MASK)
    divided = {
        "2 x 4": [Layout(30, 4, 0, 1)],
        "8 x 1": [Layout(30, 1, 0, 1)],
        "2 ranks": [Layout(30, 2, rank, 2) for rank in range(2)],
    }[layouts]
    for step in (0, 1):  # the second step of the epoch is a short batch of two samples
        plain = _loss_and_gradient(loss, data, step, [Layout(1, 100, 0, 1)])
        ours = _loss_and_gradient(loss, data, step, divided)
        torch.testing.assert_close(ours[0], plain[0], rtol=1e-7, atol=0)
        for mine, theirs in zip(ours[1], plain[1], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-9)


def _loss_and_gradient(loss, data, step, layouts):
    loss.zero_grad()
    total = 0.0
    for layout in layouts:
        for micro in training_batch(data, step, batch_size=8, layout=layout).micro_batches:
            part = loss(micro)
            part.backward()
            total = total + part.detach()
    return total, [p.grad.clone() for p in loss.parameters()]


@torch.no_grad()
def test_the_loss_matches_the_equation(tiny_model_dir):
    """One sample at a time, in a plain loop: weight x sum of -log p at the masked tokens."""
    data = make_data([12, 30, 9])
    model = load_model(tiny_model_dir, made_by="backbone").double()
    batch = training_batch(data, 0, batch_size=3, layout=Layout(60, 10, 0, 1))
    expected = 0.0
    for ids, weights in noisy_samples(data, 0, world_size=1, packed_length=1, micro_batch_rows=9):
        logits = model(torch.tensor([ids])).logits[0]
        logits[:, MASK] = -torch.inf
        original = next(
            data.samples.tokens(i) for i in range(3) if data.samples.length[i] == len(ids)
        )
        nll = -logits.log_softmax(-1)[torch.arange(len(ids)), torch.from_numpy(original)]
        expected += float((nll * torch.tensor(weights))[torch.tensor(weights) > 0].sum())
    (micro,) = batch.micro_batches
    ours = MaskedLoss(model, mask_token_id=MASK)(micro)
    assert float(ours) == pytest.approx(expected / batch.normalizer, rel=1e-6)


def test_samples_may_be_masked_in_part_only():
    samples = Samples(
        np.arange(20, 40),
        np.array([0, 10]),
        np.array([10, 10]),
        np.array([6, 8]),
        np.array([10, 10]),
    )
    data = TrainingSet(samples, masked_diffusion("linear"), 1, MASK, PAD)
    for step in range(8):
        batch = training_batch(data, step, batch_size=2, layout=Layout(10, 2, 0, 1))
        assert batch.normalizer == 6
        (micro,) = batch.micro_batches
        assert set(micro.targets.tolist()) <= {26, 27, 28, 29, 38, 39}


@pytest.mark.parametrize("steps", [range(0), range(3, 4), range(20)])
def test_batches_made_ahead_are_the_same_in_the_same_order(steps):
    made: list[int] = []

    def make(step: int):
        made.append(step)
        return make_batch(step)

    expected = [make_batch(step) for step in steps]
    for thread in (False, True):
        made.clear()
        found = list(batches_ahead(make, steps, thread=thread))
        assert made == list(steps)
        assert [batch.lengths.tolist() for batch in found] == [
            batch.lengths.tolist() for batch in expected
        ]
        for one, other in zip(found, expected, strict=True):
            for micro, same in zip(one.micro_batches, other.micro_batches, strict=True):
                assert torch.equal(micro.noisy_ids, same.noisy_ids)


def make_batch(step: int):
    return training_batch(
        make_data([5, 9, 3, 12]), step, batch_size=2, layout=Layout(16, 4, rank=0, world_size=1)
    )


def test_a_batch_that_cannot_be_made_is_told_at_its_step():
    def make(step: int):
        if step == 2:
            raise ValueError("no such sample")
        return make_batch(step)

    batches = batches_ahead(make, range(5), thread=True)
    next(batches), next(batches)
    with pytest.raises(ValueError, match="no such sample"):
        next(batches)


def test_one_row_without_padding_has_the_same_loss_and_gradients(tiny_model_dir, monkeypatch):
    """As a GPU computes it, with a loop over the samples in place of its kernel."""
    monkeypatch.setattr("diffutron.modeling.attention._varlen", each_sample)
    model = load_model(tiny_model_dir, made_by="backbone").double()
    loss = MaskedLoss(model, mask_token_id=MASK)
    layout = Layout(32, 4, rank=0, world_size=1)
    data = make_data([5, 9, 30, 3, 12, 40])
    (micro,) = training_batch(data, 0, batch_size=6, layout=layout).micro_batches[:1]
    found = []
    for form in (micro, micro.unpadded()):
        model.zero_grad()
        value = loss(form)
        value.backward()
        found.append([value.detach(), *(p.grad for p in model.parameters())])
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("packed_length", [20, 64, 200])
def test_rounded_shapes_have_the_same_loss_and_gradients(packed_length, tiny_model_dir):
    """Few shapes are compiled in bf16; what is added is seen by nothing and counts for nothing."""
    model = load_model(tiny_model_dir, made_by="backbone").double()
    loss = MaskedLoss(model, mask_token_id=MASK)
    layout = Layout(packed_length, micro_batch_rows=8, rank=0, world_size=1)
    data = make_data([13, 20, 7, 18])
    (micro,) = training_batch(data, 0, batch_size=4, layout=layout).micro_batches
    found = []
    wide = micro.rounded(torch.bfloat16)
    assert micro.rounded(torch.float32) is micro
    for one in (micro, wide):
        model.zero_grad()
        value = loss(one)
        value.backward()
        found.append([value.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    assert wide.noisy_ids.shape[1] % ROUND_WIDTH == 0
    assert len(wide.targets) % ROUND_MASKED == 0
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected)
