"""A line of megabytes is dropped, or cut, before any step looks at it, in bounded memory."""

import json
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffutron.data.corpus import document_steps
from diffutron.data.corpus.document_steps import Cleaner, cut_huge, cuts
from diffutron.data.corpus.shards import batch_digest, clean_batch
from diffutron.data.sources.row_readers import read_file
from diffutron.data.sources.sources import Document, document_of

SENTENCE = "Ilık bir öğle vaktiydi, şişman ördek göle doğru yürüdü. "


@pytest.mark.parametrize(
    ("too_long", "megabytes"), [("drop", 6), pytest.param("split", 2, marks=pytest.mark.slow)]
)
def test_memory_stays_below_ten_times_the_line(
    tmp_path, make_params, tiny_tokenizer_dir, monkeypatch, too_long, megabytes
):
    if too_long == "split":  # a tenth of everything
        monkeypatch.setattr(document_steps, "AT_ONCE", 25_000)
        monkeypatch.setattr(document_steps, "NEVER_TOO_MANY", 20_000)
    rules = make_params({"corpus.too_long": too_long}).corpus
    cleaner = Cleaner(rules, tiny_tokenizer_dir, [])
    lengths: list[int] = []
    encode = cleaner.encode
    cleaner.encode = lambda texts: lengths.extend(map(len, texts)) or encode(texts)
    path = tmp_path / "a.jsonl"
    # One emoji, and Python holds each character of the line in four bytes.
    text = SENTENCE * (megabytes * 2**20 // len(SENTENCE.encode())) + "\N{DUCK}"
    with path.open("w", encoding="utf-8") as stream:
        for one in (SENTENCE * 8, text, SENTENCE * 9):
            stream.write(json.dumps({"text": one}, ensure_ascii=False) + "\n")
    del text
    clean_batch([Document(SENTENCE * 8, "a", "a", "b.jsonl", 1)], cleaner)  # loads what is shared
    tracemalloc.start()
    documents = list(cut_huge(map(document_of, read_file(path)), rules))
    batch_digest(documents, "recipe")
    clean_batch(documents, cleaner)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * path.stat().st_size
    if too_long == "drop":
        rows, _ = cleaner.clean(documents)
        assert [row.reason == "too_long" for row in rows] == [False, True, False]
        assert rows[1].rule == "more than 200000 characters"
        assert max(lengths) < 1000
    else:
        assert max(lengths) <= cleaner.most_characters


@given(
    st.text(alphabet="ab \n", max_size=60) | st.text(alphabet="ab", max_size=60), st.integers(1, 20)
)
def test_a_text_is_cut_into_parts_that_are_the_text(text, most):
    parts = [text[start:end] for start, end in cuts(text, most)]
    assert "".join(parts) == text
    assert all(len(part) <= most for part in parts)
    assert all(part for part in parts[:-1])
    for part, after in pairwise(parts):
        if not part.endswith(("\n", " ")):  # there was no gap
            assert len(part) == most
            assert not set(part) & {"\n", " "}
        assert after or len(part) == most
