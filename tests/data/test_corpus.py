"""The corpus stage: one planted document for every reason, and what it leaves behind."""

import json
import random

import numpy as np
import pyarrow.parquet as pq
import pytest

from diffutron.data import executors
from diffutron.data.corpus import corpus
from diffutron.data.fates import REASONS
from diffutron.data.shards import ShardStore
from diffutron.data.sources import local_digest
from diffutron.data.turkish import turkish_upper
from diffutron.errors import UserError
from diffutron.modeling.tokenizer import load_tokenizer
from diffutron.outputs import only_run

NAMES = ["Ayşe", "Mehmet", "Zeynep", "Hüseyin", "Elif", "Çağrı", "Işıl", "Ömer", "Şule"]
PLACES = ["bahçede", "okulda", "çarşıda", "limanda", "tarlada", "köprüde", "sarayda", "ormanda"]
THINGS = ["kitabı", "elmayı", "çiçeği", "anahtarı", "mektubu", "gömleği", "treni", "yıldızı"]
DEEDS = ["aradı", "buldu", "sevdi", "çizdi", "unuttu", "taşıdı", "sakladı", "gördü", "sordu"]
BOILERPLATE = "Bu haberin bütün yayın hakları ajansımıza aittir"
IRONY = (
    "Yağmurda ıslanıp eve geç kaldığım bu harika günde bir de anahtarımı kaybettim, ne güzel "
    "bir akşam oldu benim için."
)


def prose(numbers: random.Random, sentences: int = 4) -> str:
    return " ".join(
        f"{numbers.choice(NAMES)} {numbers.choice(PLACES)} {numbers.choice(THINGS)} bir "
        f"{numbers.randint(100, 999)} kez {numbers.choice(DEEDS)} ve döndü."
        for _ in range(sentences)
    )


def plants() -> dict[str, list[dict]]:
    numbers = random.Random(1)
    original = prose(numbers, 9)
    copy = " ".join(original.split()[:-6])
    bullets = "\n".join(f"- {prose(numbers, 1)}" for _ in range(4))
    return {
        "kept": [{"text": original}, {"text": f"Bana ali@ornek.com yazdı. {original[:80]}"}],
        "language": [{"text": "The committee will publish its findings before the end of May."}],
        "too_short": [{"text": "Geldi."}, {"text": " \u200b "}],
        "too_long": [{"text": prose(numbers, 60)}],
        "quality": [{"text": bullets}],
        "repetition": [{"text": "Evet dedi ve yine evet dedi sonra. " * 12}],
        "boilerplate": [{"text": f"{BOILERPLATE}\n{BOILERPLATE}\nNe?"}],
        "duplicate": [{"text": turkish_upper(original)}, {"text": copy}],
        "contaminated": [{"text": f"{prose(numbers, 2)} {IRONY}"}],
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """60 clean documents of two sources and the planted ones; evaluation sets of one item."""
    monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
    numbers = random.Random(2)
    rows = [
        {
            "text": f"{prose(numbers)}\n{BOILERPLATE}" if place % 3 else prose(numbers),
            "source": "haber" if place % 2 else "dergi",
            "group": "basın",
        }
        for place in range(60)
    ]
    for name, found in plants().items():
        rows += [{"source": f"{name}.", **row} for row in found]
    (tmp_path / "corpus").mkdir()
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    lines.insert(30, b'{"text": "\xff"}')
    (tmp_path / "corpus" / "a.jsonl").write_bytes(b"\n".join(lines))
    (tmp_path / "cetvel").mkdir()
    irony = [{"text": IRONY, "label": 1}, {"text": "Ne güzel bir gün, çok sevindim.", "label": 0}]
    (tmp_path / "cetvel" / "ironytr.jsonl").write_text(
        "\n".join(json.dumps(row, ensure_ascii=False) for row in irony), encoding="utf-8"
    )
    return tmp_path


@pytest.fixture
def run(folder, make_params, tiny_tokenizer_dir):
    def stage(name="out", workers=1, **changes):
        params = make_params(
            {
                "corpus.source": "local",
                "corpus.digest": local_digest("corpus"),
                "corpus.max_bad_share": 0.05,
                "corpus.language.kept": ["tr"],
                "corpus.near_duplicate.threshold": 0.6,
                "corpus.boilerplate_documents": 20,
                "corpus.min_tokens": 8,
                "corpus.max_tokens": 1000,
                "corpus.heldout_documents": 10,
                "evaluation.source": "local",
                "evaluation.tasks": ["ironytr"],
                **{f"corpus.{key}": value for key, value in changes.items()},
            }
        )
        out = folder / name
        metrics = folder / f"{name}.json"
        corpus(params, tokenizer=tiny_tokenizer_dir, out=out, metrics=metrics, workers=workers)
        return out

    return stage


def table(out, split):
    return pq.read_table(out / f"{split}.parquet").to_pylist()


def test_every_document_has_its_fate(run, folder):
    out = run()
    card = json.loads((out / "card.json").read_text(encoding="utf-8"))
    for name, found in plants().items():
        if name == "kept":
            assert card["by_source"]["kept."] == {"kept": len(found)}
        else:
            assert card["by_source"][f"{name}."] == {name: len(found)}, name
    counts = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    assert counts["dropped"] == {reason: len(plants().get(reason, [])) for reason in REASONS} | {
        "bad_line": 1,
        "quota": 0,
    }
    assert counts["documents"] == {"read": 73, "kept": 62, "train": 52, "heldout": 10}
    assert counts["personal_data"]["email"] == 1
    assert counts["edited_lines"] > 40
    bad = json.loads((out / "bad_lines.jsonl").read_text(encoding="utf-8"))
    assert (bad["file"], bad["line"]) == ("a.jsonl", 31)
    assert sorted(path.name for path in out.iterdir()) == [
        "bad_lines.jsonl",
        "card.html",
        "card.json",
        "card.md",
        "fates.parquet",
        "heldout.parquet",
        "heldout_bounds.npy",
        "heldout_ids.npy",
        "train.parquet",
        "train_bounds.npy",
        "train_ids.npy",
        "words.txt",
    ]


def test_ids_are_what_the_tokenizer_says_of_the_text(run, tiny_tokenizer_dir):
    out = run()
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


def test_words_are_those_of_the_training_split(run):
    out = run()
    words = (out / "words.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert words == sorted(set(words))
    assert {"bahçede", "ışıl"} & set(words)
    assert "IŞIL" not in words


def test_a_written_out_mask_is_not_a_mask_token(run, folder, tiny_tokenizer_dir):
    (folder / "corpus" / "b.jsonl").write_text(
        json.dumps({"text": f"Metinde <mask> ve <eos> yazıyor. {prose(random.Random(9))}"})
    )
    out = run()
    mask = load_tokenizer(tiny_tokenizer_dir).mask_token_id
    assert any("<mask>" in row["text"] for row in table(out, "train") + table(out, "heldout"))
    for split in ("train", "heldout"):
        assert mask not in np.load(out / f"{split}_ids.npy")


def contents(out):
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def test_bytes_depend_on_neither_processes_nor_the_run(run, monkeypatch):
    alone = contents(run("alone", shard_documents=20))
    monkeypatch.setattr(executors, "PROCESSES_FROM", 2)
    assert contents(run("together", shard_documents=20, workers=2)) == alone


def test_shards_of_another_size_give_the_same_bytes(run):
    assert contents(run("one")) == contents(run("many", shard_documents=7))


def test_long_documents_can_be_split(run):
    out = run(too_long="split", max_tokens=120)
    rows = table(out, "train") + table(out, "heldout")
    assert max(row["num_tokens"] for row in rows) <= 120
    pieces = [row["text"] for row in rows if row["source"] == "too_long."]
    assert len(pieces) > 10
    assert " ".join(sorted(pieces)).split() != []
    whole = plants()["too_long"][0]["text"].split()
    assert sorted(word for text in pieces for word in text.split()) == sorted(whole)


def test_quotas_are_drawn_by_group(run, folder):
    out = run(quotas={"basın": 25})
    rows = table(out, "train") + table(out, "heldout")
    drawn = [row["text"] for row in rows if row["group"] == "basın"]
    assert len(drawn) == 25
    assert json.loads((folder / "out.json").read_text())["dropped"]["quota"] == 35
    again = run("again", quotas={"basın": 26})
    more = {row["text"] for split in ("train", "heldout") for row in table(again, split)}
    assert set(drawn) < more  # a larger quota only adds


def test_a_cluster_is_held_out_as_a_whole(run, folder):
    """b is like a and like c, a and c are not alike: both are kept, and on one side."""
    numbers = random.Random(11)
    lines = []
    for _ in range(30):
        a = prose(numbers, 8).split()
        b = a[:62] + prose(numbers, 2).split()
        c = b[16:] + prose(numbers, 2).split()
        lines += [{"text": " ".join(tokens), "source": "zincir"} for tokens in (b, a, c)]
    (folder / "corpus" / "b.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    out = run(heldout_documents=40)
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
def test_what_goes_wrong_is_one_line_and_leaves_no_folder(run, folder, changes, message):
    with pytest.raises(UserError, match=message):
        run(**changes)
    left = {path.name for path in folder.iterdir()}
    assert left - {".out.shards"} == {"corpus", "cetvel"}


def test_a_folder_without_tokenizer_or_mask_is_named(folder, make_params, tmp_path_factory):
    params = make_params({"evaluation.tasks": ["ironytr"]})
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(UserError, match="run the stage `tokenizer` first"):
        corpus(params, tokenizer=empty, out=folder / "x", metrics=folder / "x.json")
    (empty / "tokenizer.json").write_text("{}")
    (empty / "tokenizer_config.json").write_text("{}")
    with pytest.raises(UserError, match="without mask token"):
        corpus(params, tokenizer=empty, out=folder / "x", metrics=folder / "x.json")


def test_the_card_is_readable(run):
    text = (run() / "card.md").read_text(encoding="utf-8")
    for part in (
        "# Corpus",
        "62 of 73 documents kept",
        "| contaminated | 1 |",
        "## Examples: kept",
    ):
        assert part in text


def test_a_killed_run_goes_on_and_gives_the_same_bytes(run, folder, monkeypatch):
    whole = contents(run("whole", shard_documents=10))
    kept, write = [], ShardStore.write

    def die_at_the_fourth(store, path, content):
        if len(kept) == 3:
            path.with_suffix(".part").write_bytes(content[:100])  # as a kill would leave it
            raise KeyboardInterrupt
        kept.append(path)
        write(store, path, content)

    monkeypatch.setattr(ShardStore, "write", die_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        run("again", shard_documents=10)
    assert not (folder / "again").exists()
    (folder / ".again.abcd1234").mkdir()  # what a kill between the steps leaves
    written = []
    monkeypatch.setattr(ShardStore, "write", lambda *a: (written.append(a[1]), write(*a)))
    assert contents(run("again", shard_documents=10)) == whole
    assert not set(kept) & set(written)
    left = {path.name for path in folder.iterdir() if path.name.startswith(".again")}
    assert left == {".again.shards"}
    assert not list((folder / ".again.shards").glob("*.part"))


def test_one_file_more_cleans_only_its_shards(run, folder, monkeypatch):
    run(shard_documents=20)
    write, written = ShardStore.write, []
    monkeypatch.setattr(ShardStore, "write", lambda *a: (written.append(a[1]), write(*a)))
    row = json.dumps({"text": prose(random.Random(77))})
    (folder / "corpus" / "0.jsonl").write_text(row, encoding="utf-8")
    run(shard_documents=20)
    assert len(written) == 1
    run(shard_documents=20, boilerplate_documents=30, heldout_documents=9)  # joins alone
    assert len(written) == 1
    run(shard_documents=20, min_tokens=9)
    assert len(written) == 6
    assert len(list((folder / ".out.shards").glob("*.arrow"))) == 5  # older ones are gone


def test_a_second_run_in_the_same_folder_is_refused(run, folder):
    with (
        only_run(folder / "out"),
        pytest.raises(UserError, match=r"another run is writing .*out"),
    ):
        run()
    assert run().is_dir()


def test_fates_name_each_document_and_what_stands_for_a_copy(run):
    fates = pq.read_table(run() / "fates.parquet").to_pylist()
    assert len(fates) == 72
    lines = [row["line"] for row in fates]
    assert lines == sorted(lines)
    assert 31 not in lines  # the bad line
    copies = [row for row in fates if row["reason"] == "duplicate"]
    (original,) = (row["line"] for row in fates if row["source"] == "kept." and row["line"] < 63)
    assert {row["instead_line"] for row in copies} == {original}
    assert all(row["instead_line"] is None for row in fates if row["reason"] != "duplicate")
    assert {row["split"] for row in fates if row["reason"]} == {""}


def test_the_page_escapes_what_it_shows_and_draws_the_flow(run, folder):
    rows = [{"text": f"<script>alert({n})</script> {prose(random.Random(n))}"} for n in range(40)]
    lines = "\n".join(json.dumps(row) for row in rows)
    (folder / "corpus" / "b.jsonl").write_text(lines, encoding="utf-8")
    page = (run() / "card.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page.replace("http://", "").split("<svg")[0]
    for part in ("What each step dropped", "Examples: contaminated", "Licences", "not known"):
        assert part in page
    plot = (folder / "out_steps.csv").read_text(encoding="utf-8").splitlines()
    assert plot[:2] == ["step,left,dropped", "read,113,0"]
    kept = json.loads((folder / "out.json").read_text(encoding="utf-8"))["documents"]["kept"]
    assert plot[-1] == f"quota,{kept},0"


@pytest.mark.parametrize("use", ["research", "commercial"])
def test_a_licence_that_forbids_the_use_is_an_error_unless_allowed(run, folder, use):
    listing = "sources:\n  - {files: a.jsonl, licence: CC BY-NC-SA 3.0, name: dergi, quota: 30}\n"
    (folder / "corpus" / "sources.yaml").write_text(listing, encoding="utf-8")
    if use == "commercial":
        with pytest.raises(UserError, match=r"licence of dergi is 'CC BY-NC-SA 3\.0'"):
            run(use=use)
    out = run(use=use, allowed_licences=["CC BY-NC-SA 3.0"])
    card = json.loads((out / "card.json").read_text(encoding="utf-8"))
    assert card["licences"] == [
        {"source": "dergi", "licence": "CC BY-NC-SA 3.0", "commercial": False}
    ]
    assert card["by_source"]["dergi"]["kept"] == 30  # the quota of sources.yaml
    for name in ("card.md", "card.html"):
        assert "may not be used commercially" in (out / name).read_text(encoding="utf-8")
