"""What a training reads from disk: every token once, and a damaged folder is said in one line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffutron.data.token_store import read_documents, windows
from diffutron.runtime.errors import UserError


@given(st.lists(st.integers(2, 50), min_size=1, max_size=12), st.integers(2, 20))
def test_windows_lose_no_token(lengths, max_tokens):
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    samples = windows(np.arange(bounds[-1]), bounds, max_tokens=max_tokens)
    pieces = [samples.tokens(i) for i in range(len(samples))]
    assert np.concatenate(pieces).tolist() == list(range(bounds[-1]))
    assert max(map(len, pieces)) <= max_tokens
    heads = set(bounds[:-1].tolist())
    for piece, start in zip(pieces, samples.maskable_start, strict=True):
        assert start == (int(piece[0]) in heads)  # only a document's begin token is spared
    assert samples.num_cut == sum(length > max_tokens for length in lengths)


def test_a_damaged_corpus_is_the_users_to_mend(tmp_path):
    with pytest.raises(UserError, match="run the stage `corpus` first"):
        read_documents(tmp_path / "absent", "train", max_tokens=8)
    with pytest.raises(UserError, match=r"cannot read the train split .* run `diffutron corpus`"):
        read_documents(tmp_path, "train", max_tokens=8)
    np.save(tmp_path / "train_ids.npy", np.arange(10, dtype=np.uint16))
    np.save(tmp_path / "train_bounds.npy", np.array([0]))
    with pytest.raises(UserError, match="is empty"):
        read_documents(tmp_path, "train", max_tokens=8)
    np.save(tmp_path / "train_bounds.npy", np.array([0, 4, 9]))
    with pytest.raises(UserError, match="does not fit its ids"):
        read_documents(tmp_path, "train", max_tokens=8)
    (tmp_path / "train_ids.npy").write_bytes(b"no array")
    with pytest.raises(UserError, match="cannot read the train split"):
        read_documents(tmp_path, "train", max_tokens=8)


def test_reading_documents(tmp_path):
    np.save(tmp_path / "heldout_ids.npy", np.arange(10, dtype=np.uint16))
    np.save(tmp_path / "heldout_bounds.npy", np.array([0, 4, 10]))
    samples = read_documents(tmp_path, "heldout", max_tokens=8)
    assert len(samples) == 2
    assert samples.tokens(1).tolist() == [4, 5, 6, 7, 8, 9]
    assert len(samples.first(1)) == 1
    assert samples.first(1).maskable_start.tolist() == [1]
