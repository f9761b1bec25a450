"""Sources: sample, local folder with its digest, hub; rows that fit no schema."""

import json

import pytest

from diffutron.data.sources.row_readers import BadLine
from diffutron.data.sources.sources import (
    BadRows,
    Document,
    Instruction,
    local_digest,
    raw_documents,
    raw_instructions,
    read_texts,
)
from diffutron.runtime.errors import UserError


def write_rows(path, rows) -> None:
    path.parent.mkdir(exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=True) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
    write_rows(
        tmp_path / "corpus" / "haber.jsonl",
        [
            {"text": "Bir."},
            {"text": "İki.", "source": "gazete", "group": "basın"},
            {"text": 3},
            {"body": "x"},
            {"text": "Dört.", "source": 4},
            {"text": "yarım \ud83d çift"},
        ],
    )
    write_rows(
        tmp_path / "instruct" / "karma.jsonl",
        [
            {"instruction": "Topla.", "input": "1 2", "output": "3", "source": "mat"},
            {"Input": "Çevir: red", "Output": "kırmızı"},
            {"instruction": "Selam ver.", "input": "", "output": "Selam"},
            {"instruction": "Veda et.", "output": "Hoşça kal"},
            {"soru": "Ne?", "cevap": "Bu."},
            {"Input": ["liste"], "Output": "x"},
        ],
    )
    return tmp_path


@pytest.fixture
def local(folder, make_params):
    return make_params(
        {
            "corpus.source": "local",
            "corpus.digest": local_digest("corpus"),
            "corpus.max_bad_share": 0.9,
            "instructions.source": "local",
            "instructions.digest": local_digest("instructions"),
        }
    )


def test_documents_of_a_folder(local):
    assert list(raw_documents(local.corpus, seed=1)) == [
        Document("Bir.", "haber", "haber", "haber.jsonl", 1),
        Document("İki.", "gazete", "basın", "haber.jsonl", 2),
        BadLine("haber.jsonl", 3, "'text' is not a text"),
        BadLine("haber.jsonl", 4, "no field 'text'"),
        BadLine("haber.jsonl", 5, "'source' or 'group' is not a text"),
        BadLine("haber.jsonl", 6, "not Unicode text (half of a surrogate pair)"),
    ]


def test_instructions_of_a_folder_are_told_apart_by_schema(local):
    first = list(raw_instructions(local.instructions, 1, seed=1))
    assert [row for row in first if isinstance(row, Instruction)] == [
        Instruction("Topla.\n1 2", "3", "mat", "karma.jsonl", 1),
        Instruction("Selam ver.", "Selam", "karma", "karma.jsonl", 3),
        Instruction("Veda et.", "Hoşça kal", "karma", "karma.jsonl", 4),
    ]
    assert [row.line for row in first if isinstance(row, BadLine)] == [5]
    second = list(raw_instructions(local.instructions, 2, seed=1))
    assert second == [
        Instruction("Çevir: red", "kırmızı", "karma", "karma.jsonl", 2),
        BadLine("karma.jsonl", 6, "Input, Output must be texts"),
    ]


def test_a_changed_folder_is_noticed(local, folder, make_params):
    before = local_digest("corpus")
    (folder / "corpus" / "haber.jsonl").write_text('{"text": "Başka."}', encoding="utf-8")
    assert local_digest("corpus") != before
    with pytest.raises(UserError, match=r"corpus\.digest does not fit .* run `diffutron params`"):
        list(raw_documents(local.corpus, seed=1))
    unset = make_params({"corpus.source": "local"})
    with pytest.raises(UserError, match=r"corpus\.digest is not set: run `diffutron params`"):
        list(raw_documents(unset.corpus, seed=1))


def test_digest_depends_on_names_and_places_and_not_on_the_folder(
    folder, tmp_path_factory, monkeypatch
):
    before = local_digest("corpus")
    other = tmp_path_factory.mktemp("copy")
    (folder / "corpus").rename(other / "corpus")
    monkeypatch.setenv("DIFFUTRON_DATA", str(other))
    assert local_digest("corpus") == before
    (other / "corpus" / "haber.jsonl").rename(other / "corpus" / "ajans.jsonl")
    assert local_digest("corpus") != before


def test_absent_folders_are_named(make_params, monkeypatch, tmp_path):
    with pytest.raises(UserError, match="DIFFUTRON_DATA is not set"):
        local_digest("corpus")
    monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"instructions\.source is local but .*instruct does not"):
        local_digest("instructions")
    (tmp_path / "corpus").mkdir()
    with pytest.raises(UserError, match="holds no file"):
        local_digest("corpus")


def test_quarantine_lets_few_pass_and_stops_at_many():
    rows = [*range(98), BadLine("a.jsonl", 7, "not JSON"), BadLine("b.jsonl", 9, "not UTF-8")]
    few = BadRows("corpus", max_bad_share=0.02)
    assert list(few.sift(rows)) == list(range(98))
    assert (few.read, few.bad) == (100, 2)
    assert few.examples == [
        {"file": "a.jsonl", "line": 7, "why": "not JSON"},
        {"file": "b.jsonl", "line": 9, "why": "not UTF-8"},
    ]
    with pytest.raises(UserError, match=r"2 of 100 lines .* = 0\.01 .*a\.jsonl line 7: not JSON"):
        list(BadRows("corpus", max_bad_share=0.01).sift(rows))
    with pytest.raises(UserError, match="the source holds no rows"):
        list(BadRows("corpus", max_bad_share=0.01).sift([]))


@pytest.mark.slow
def test_the_sample_needs_nothing(make_params):
    params = make_params()
    documents = list(raw_documents(params.corpus, seed=13))
    assert len(documents) > 1000
    assert {type(one) for one in documents} == {Document}
    rows = list(raw_instructions(params.instructions, 2, seed=13))
    assert {type(one) for one in rows} == {Instruction}
    assert len(list(read_texts(params))) > len(documents) + len(rows)


def test_no_network_is_one_line(make_params):
    """HF_HUB_OFFLINE is set for every test."""
    params = make_params({"corpus.source": "hub", "instructions.source": "hub"})
    for rows in (
        raw_documents(params.corpus, seed=1),
        raw_instructions(params.instructions, 1, seed=1),
    ):
        with pytest.raises(UserError, match="not in the cache, and HF_HUB_OFFLINE") as caught:
            list(rows)
        assert "\n" not in str(caught.value)
    none = make_params({"corpus.source": "hub", "corpus.hub": []})
    with pytest.raises(UserError, match=r"corpus\.hub names no data set"):
        list(raw_documents(none.corpus, seed=1))
