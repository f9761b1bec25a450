"""Packed rows hold every token once, and a packed batch equals the padded one."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffutron.modeling.encoder import load_model
from diffutron.modeling.head import head_nll, run_encoder
from diffutron.modeling.packing import attention_masks, first_fit, pack_rows

lengths_of_samples = st.lists(st.integers(1, 40), max_size=30)


@given(lengths_of_samples, st.integers(1, 50))
def test_first_fit_matches_the_plain_search(lengths, packed_length):
    rows, used = [], []
    for index, length in enumerate(lengths):
        fits = (r for r in range(len(rows)) if used[r] + length <= packed_length)
        row = next(fits, None)
        if row is None:
            rows.append([index])
            used.append(length)
        else:
            rows[row].append(index)
            used[row] += length
    assert first_fit(lengths, packed_length=packed_length) == rows


@given(lengths_of_samples, st.integers(1, 50))
def test_pack_rows_keeps_every_token(lengths, packed_length):
    samples = [np.arange(length) + 100 * index for index, length in enumerate(lengths)]
    rows = first_fit(lengths, packed_length=packed_length)
    packed = pack_rows(samples, rows, pad_token_id=-7)
    flat, position = packed.ids.flatten(), packed.position.flatten()
    for index, sample in enumerate(samples):
        at = int(packed.offset[index])
        assert flat[at : at + len(sample)].tolist() == sample.tolist()
        assert position[at : at + len(sample)].tolist() == list(range(len(sample)))
    assert int((packed.segment >= 0).sum()) == sum(lengths)
    assert (packed.ids[packed.segment < 0] == -7).all()


def test_attention_masks_by_enumeration():
    segment = torch.tensor([[0, 0, 0, 1, 1, -1]])
    masks = attention_masks(segment, window=1)
    for i in range(6):
        for j in range(6):
            together = bool(segment[0, i] == segment[0, j])
            assert masks["full_attention"][0, 0, i, j] == together
            assert masks["sliding_attention"][0, 0, i, j] == (together and abs(i - j) <= 1)


def test_packed_batch_matches_padded_batch(tiny_model_dir):
    """Losses and gradients, with samples longer than the sliding window."""
    model = load_model(tiny_model_dir, made_by="backbone").double()
    generator = np.random.default_rng(0)
    lengths = [5, 40, 17, 29, 3, 22]
    samples = [generator.integers(5, 300, size=length) for length in lengths]
    rows = first_fit(lengths, packed_length=48)
    assert max(map(len, rows)) > 1
    assert max(lengths) > 2 * model.config.sliding_window

    packed = pack_rows(samples, rows, pad_token_id=0)
    masks = attention_masks(packed.segment, window=model.config.sliding_window)
    hidden = run_encoder(model, packed.ids, masks, packed.position).flatten(0, 1)
    places = torch.cat([packed.offset[i] + torch.arange(n) for i, n in enumerate(lengths)])
    ours, our_gradient = _loss(model, hidden[places], samples)

    padded = torch.zeros(len(samples), max(lengths), dtype=torch.int64)
    for row, sample in enumerate(samples):
        padded[row, : len(sample)] = torch.from_numpy(sample)
    real = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    theirs, their_gradient = _loss(model, run_encoder(model, padded, real.long())[real], samples)

    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for mine, plain in zip(our_gradient, their_gradient, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-9, atol=1e-12)


def _loss(model, hidden, samples):
    targets = torch.from_numpy(np.concatenate(samples))
    nll = head_nll(model, hidden, targets, mask_token_id=4)
    model.zero_grad()
    (nll * torch.linspace(0.1, 1, len(nll), dtype=torch.float64)).sum().backward()
    return nll.detach(), [p.grad.clone() for p in model.parameters()]
