"""The corpus stage: one planted document for every reason, and what it leaves behind."""

import json
import random

import numpy as np
import pyarrow.parquet as pq
import pytest

from diffutron.data.corpus.corpus import corpus
from diffutron.data.corpus.document_table import REASONS
from diffutron.modeling.tokenizer import load_tokenizer
from diffutron.runtime.errors import UserError
from diffutron.text.normalize import REPAIRS

from .conftest import BOILERPLATE, plants, prose, table


def test_every_document_has_its_fate(run_corpus, planted):
    out = run_corpus()
    card = json.loads((out / "card.json").read_text(encoding="utf-8"))
    for name, found in plants().items():
        if name == "kept":
            assert card["by_source"]["kept."] == {"kept": len(found)}
        else:
            assert card["by_source"][f"{name}."] == {name: len(found)}, name
    counts = json.loads((planted / "out.json").read_text(encoding="utf-8"))
    assert counts["dropped"] == {reason: len(plants().get(reason, [])) for reason in REASONS} | {
        "bad_line": 1,
        "quota": 0,
    }
    assert counts["documents"] == {"read": 73, "kept": 62, "train": 52, "heldout": 10}
    assert counts["personal_data"]["email"] == 1
    assert counts["edited_lines"] > 40
    assert counts["documents"]["read"] == counts["documents"]["kept"] + sum(
        counts["dropped"].values()
    )
    (long,) = card["examples"]["too_long"]
    assert len(long["text"].encode()) < 5000 < len(plants()["too_long"][0]["text"])
    assert long["text"].endswith(" characters)")
    assert card["repaired"] == counts["repaired"]
    assert card["false_alarms"] == counts["false_alarms"] == {"texts": 62, "found": 0}
    assert "in 0 of 62 kept texts (0.000%)" in (out / "card.html").read_text(encoding="utf-8")
    assert set(counts["repaired"]) == set(REPAIRS)
    bad = json.loads((out / "bad_lines.jsonl").read_text(encoding="utf-8"))
    assert (bad["file"], bad["line"]) == ("a.jsonl", 31)
    assert sorted(path.name for path in out.iterdir()) == [
        "bad_lines.jsonl",
        "card.html",
        "card.json",
        "fates.parquet",
        "heldout.parquet",
        "heldout_bounds.npy",
        "heldout_ids.npy",
        "train.parquet",
        "train_bounds.npy",
        "train_ids.npy",
        "words.txt",
    ]


def test_ids_are_what_the_tokenizer_says_of_the_text(run_corpus, tiny_tokenizer_dir):
    out = run_corpus()
    tokenizer = load_tokenizer(tiny_tokenizer_dir)
    for split in ("train", "heldout"):
        rows = table(out, split)
        ids = np.load(out / f"{split}_ids.npy", mmap_mode="r")
        bounds = np.load(out / f"{split}_bounds.npy")
        assert ids.dtype == np.uint16
        assert len(bounds) == len(rows) + 1
        assert bounds[-1] == len(ids)
        for row, start, end in zip(rows, bounds, bounds[1:], strict=False):
            assert ids[start:end].tolist() == tokenizer(row["text"])["input_ids"]
            assert row["num_tokens"] == end - start
    texts = [row["text"] for split in ("train", "heldout") for row in table(out, split)]
    assert not any(BOILERPLATE in text for text in texts)
    assert sum("[E-POSTA]" in text for text in texts) == 1
    identities = [row["id"] for split in ("train", "heldout") for row in table(out, split)]
    assert len(set(identities)) == len(identities)


def test_words_are_those_of_the_training_split(run_corpus):
    out = run_corpus()
    words = (out / "words.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert words == sorted(set(words))
    assert {"bahçede", "ışıl"} & set(words)
    assert "IŞIL" not in words


def test_a_written_out_mask_is_not_a_mask_token(run_corpus, planted, tiny_tokenizer_dir):
    (planted / "corpus" / "b.jsonl").write_text(
        json.dumps({"text": f"Metinde <mask> ve <eos> yazıyor. {prose(random.Random(9))}"})
    )
    out = run_corpus()
    mask = load_tokenizer(tiny_tokenizer_dir).mask_token_id
    assert any("<mask>" in row["text"] for row in table(out, "train") + table(out, "heldout"))
    for split in ("train", "heldout"):
        assert mask not in np.load(out / f"{split}_ids.npy")


def test_long_documents_can_be_split(run_corpus):
    out = run_corpus(too_long="split", max_tokens=120)
    rows = table(out, "train") + table(out, "heldout")
    assert max(row["num_tokens"] for row in rows) <= 120
    pieces = [row["text"] for row in rows if row["source"] == "too_long."]
    assert len(pieces) > 10
    assert " ".join(sorted(pieces)).split() != []
    whole = plants()["too_long"][0]["text"].split()
    assert sorted(word for text in pieces for word in text.split()) == sorted(whole)


def test_quotas_are_drawn_by_group(run_corpus, planted):
    out = run_corpus(quotas={"basın": 25})
    rows = table(out, "train") + table(out, "heldout")
    drawn = [row["text"] for row in rows if row["group"] == "basın"]
    assert len(drawn) == 25
    assert json.loads((planted / "out.json").read_text())["dropped"]["quota"] == 35
    again = run_corpus("again", quotas={"basın": 26})
    more = {row["text"] for split in ("train", "heldout") for row in table(again, split)}
    assert set(drawn) < more  # a larger quota only adds


def test_a_cluster_is_held_out_as_a_whole(run_corpus, planted):
    """b is like a and like c, a and c are not alike: both are kept, and on one side."""
    numbers = random.Random(11)
    lines = []
    for _ in range(30):
        a = prose(numbers, 8).split()
        b = a[:62] + prose(numbers, 2).split()
        c = b[16:] + prose(numbers, 2).split()
        lines += [{"text": " ".join(tokens), "source": "zincir"} for tokens in (b, a, c)]
    (planted / "corpus" / "b.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    out = run_corpus(heldout_documents=40)
    assert len(table(out, "heldout")) in (39, 40)
    sizes = json.loads((out / "card.json").read_text())["duplicate_clusters"]
    assert sum(sizes.values()) >= 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quotas": {"basın": 500}}, r"quotas\.basın = 500, but 60 documents"),
        ({"quotas": {"yok": 1}}, r"quotas\.yok = 1, but 0 documents.*groups: basın"),
        ({"heldout_documents": 62}, r"heldout_documents = 62, but only 62"),
        ({"min_tokens": 990}, "no document is left after the steps that look at one document"),
        ({"max_bad_share": 0.001}, r"1 of 73 lines cannot be used.*a\.jsonl line 31: not UTF-8"),
        ({"digest": "0"}, "run `diffutron params` again"),
    ],
)
def test_what_goes_wrong_is_one_line_and_leaves_no_folder(run_corpus, planted, changes, message):
    with pytest.raises(UserError, match=message):
        run_corpus(**changes)
    left = {path.name for path in planted.iterdir()}
    assert left - {".out.shards", ".contamination"} == {"corpus", "cetvel"}


def test_a_folder_without_tokenizer_or_mask_is_named(planted, make_params, tmp_path_factory):
    params = make_params({"corpus.contamination.tasks": ["ironytr"]})
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(UserError, match="run the stage `tokenizer` first"):
        corpus(params, tokenizer=empty, out=planted / "x", metrics=planted / "x.json")
    (empty / "tokenizer.json").write_text("{}")
    (empty / "tokenizer_config.json").write_text("{}")
    with pytest.raises(UserError, match="without mask token"):
        corpus(params, tokenizer=empty, out=planted / "x", metrics=planted / "x.json")


def test_the_card_is_readable(run_corpus):
    text = (run_corpus() / "card.html").read_text(encoding="utf-8")
    for part in (
        "<h1>Corpus</h1>",
        "62 of 73 documents kept",
        "Cleaned of the evaluation sets: ironytr.",
        "<tr><td>ironytr</td><td>1</td></tr>",
        "<h2>Examples: kept</h2>",
    ):
        assert part in text


@pytest.mark.parametrize("tasks", [[], ["ironytr"]])
def test_card_and_metrics_list_the_sets_that_the_corpus_was_cleaned_of(run_corpus, planted, tasks):
    out = run_corpus(**{"contamination.tasks": tasks})
    for file in (out / "card.json", planted / "out.json"):
        said = json.loads(file.read_text(encoding="utf-8"))
        assert said["cleaned_of"] == tasks
        assert said["dropped"]["contaminated"] == len(tasks)
        assert list(said["findable"]) == tasks
        assert all(one["document"] == one["items"] for one in said["findable"].values())


def test_fates_name_each_document_and_what_stands_for_a_copy(run_corpus):
    fates = pq.read_table(run_corpus() / "fates.parquet").to_pylist()
    assert len(fates) == 72
    lines = [row["line"] for row in fates]
    assert lines == sorted(lines)
    assert 31 not in lines  # the bad line
    copies = [row for row in fates if row["reason"] == "duplicate"]
    (original,) = (row["line"] for row in fates if row["source"] == "kept." and row["line"] < 63)
    assert {row["instead_line"] for row in copies} == {original}
    assert all(row["instead_line"] is None for row in fates if row["reason"] != "duplicate")
    assert {row["split"] for row in fates if row["reason"]} == {""}


def test_the_page_escapes_what_it_shows_and_draws_the_flow(run_corpus, planted):
    rows = [{"text": f"<script>alert({n})</script> {prose(random.Random(n))}"} for n in range(40)]
    lines = "\n".join(json.dumps(row) for row in rows)
    (planted / "corpus" / "b.jsonl").write_text(lines, encoding="utf-8")
    page = (run_corpus() / "card.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page.replace("http://", "").split("<svg")[0]
    for part in ("What each step dropped", "Examples: contaminated", "Licenses", "not known"):
        assert part in page
    plot = (planted / "out_steps.csv").read_text(encoding="utf-8").splitlines()
    assert plot[:2] == ["step,left,dropped", "read,113,0"]
    kept = json.loads((planted / "out.json").read_text(encoding="utf-8"))["documents"]["kept"]
    assert plot[-1] == f"quota,{kept},0"


@pytest.mark.parametrize("use", ["research", "commercial"])
def test_a_license_that_forbids_the_use_is_an_error_unless_allowed(run_corpus, planted, use):
    listing = "sources:\n  - {files: a.jsonl, license: CC BY-NC-SA 3.0, name: dergi, quota: 30}\n"
    (planted / "corpus" / "sources.yaml").write_text(listing, encoding="utf-8")
    if use == "commercial":
        with pytest.raises(UserError, match=r"license of dergi is 'CC BY-NC-SA 3\.0'"):
            run_corpus(use=use)
    out = run_corpus(use=use, allowed_licenses=["CC BY-NC-SA 3.0"])
    card = json.loads((out / "card.json").read_text(encoding="utf-8"))
    assert card["licenses"] == [
        {"source": "dergi", "license": "CC BY-NC-SA 3.0", "commercial": False}
    ]
    assert card["by_source"]["dergi"]["kept"] == 30  # the quota of sources.yaml
    assert "may not be used commercially" in (out / "card.html").read_text(encoding="utf-8")
