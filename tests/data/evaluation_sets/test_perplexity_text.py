"""The perplexity text from its three sources, and what is said when one is missing."""

import json

import pytest

from diffutron.config.params import PerplexityText
from diffutron.data.evaluation_sets.perplexity_text import read_perplexity_text
from diffutron.runtime.errors import UserError


def params(**changes):
    values = {
        "source": "sample",
        "name": "selimfirat/bilkent-turkish-writings-dataset",
        "revision": "main",
        "split": "train",
        "field": "text",
        "documents": 3,
    }
    return PerplexityText(**{**values, **changes})


def test_sample_essays_are_drawn_by_the_seed():
    texts = read_perplexity_text(params(), seed=1)
    assert len(set(texts)) == 3
    assert texts == read_perplexity_text(params(), seed=1)
    assert texts != read_perplexity_text(params(), seed=2)
    assert len(read_perplexity_text(params(documents=10_000), seed=1)) < 10_000


@pytest.fixture
def writings(tmp_path, monkeypatch):
    folder = tmp_path / "writings"
    folder.mkdir()
    rows = [{"text": "Bir gün.", "title": "a"}, {"text": " \n", "title": "boş"}, {"text": "İki."}]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    (folder / "b.jsonl").write_text(json.dumps({"text": "Üç. "}))
    monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
    return folder


def test_local_writings_are_read_in_order_without_empty_ones(writings):
    assert read_perplexity_text(params(source="local"), seed=1) == ["Bir gün.", "İki.", "Üç."]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'{"text": "\xfe"}', r"a\.jsonl, line 1: not UTF-8"),
        (b'{"text": "a"}\n{"text"', r"a\.jsonl, line 2: not JSON"),
        (b'{"yazi": "a"}', "no text field `text`"),
        (b'["a"]', "no text field `text`"),
    ],
)
def test_damaged_writings_are_named(writings, content, complaint):
    (writings / "a.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=complaint):
        read_perplexity_text(params(source="local"), seed=1)


def test_missing_writings_say_what_to_do(writings, monkeypatch):
    for path in writings.glob("*.jsonl"):
        path.write_text('{"text": ""}')
    with pytest.raises(UserError, match="source local holds no text"):
        read_perplexity_text(params(source="local"), seed=1)
    for path in writings.glob("*.jsonl"):
        path.unlink()
    with pytest.raises(UserError, match=r"holds no \*\.jsonl"):
        read_perplexity_text(params(source="local"), seed=1)
    monkeypatch.delenv("DIFFUTRON_DATA")
    with pytest.raises(UserError, match="DIFFUTRON_DATA is not set"):
        read_perplexity_text(params(source="local"), seed=1)


def test_the_hub_set_is_read_at_its_revision(hub):
    folder = hub.store.folder / f"datasets/{params().name}@v1"
    folder.mkdir(parents=True)
    folder.with_name(folder.name.removesuffix("@v1")).mkdir()
    (folder / "train.jsonl").write_text('{"text": "Bir."}\n{"text": "İki."}\n')
    given = {"source": "hub", "revision": "v1"}
    assert read_perplexity_text(params(**given), seed=1) == ["Bir.", "İki."]
    assert read_perplexity_text(params(**given, limit=1), seed=1) == ["Bir."]
    told = r"^evaluate\.perplexity_text: .* has no field 'essay'; it has text"
    with pytest.raises(UserError, match=told):
        read_perplexity_text(params(**given, field="essay"), seed=1)
    (folder / "train.jsonl").write_text('{"text": "Bir."}\n{"text": 2}\n')
    with pytest.raises(UserError, match="`text` holds what is no text"):
        read_perplexity_text(params(**given), seed=1)


def test_no_network_is_one_line():
    """HF_HUB_OFFLINE is set for every test."""
    told = r"^evaluate\.perplexity_text: data set .*bilkent.* is not in the cache"
    with pytest.raises(UserError, match=told):
        read_perplexity_text(params(source="hub"), seed=1)
