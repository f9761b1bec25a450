"""`sources.yaml`: fields, license, group and quota of each file, and what is wrong with it."""

import json

import pytest

from diffutron.data.sources.licenses import License
from diffutron.data.sources.listing import Entry, entries, quotas_of
from diffutron.data.sources.sources import Document, licenses_of, local_digest, raw_documents
from diffutron.runtime.errors import UserError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
    made = tmp_path / "corpus"
    made.mkdir()
    (made / "haber_1.jsonl").write_text(json.dumps({"body": "Bir.", "site": "a"}))
    (made / "kitap.jsonl").write_text(json.dumps({"text": "İki."}))
    return made


def write(folder, text: str) -> None:
    (folder / "sources.yaml").write_text(text, encoding="utf-8")


def test_fields_group_and_name(folder, make_params):
    before = local_digest("corpus")
    write(
        folder,
        "sources:\n  - files: [haber_*.jsonl]\n    fields: {text: body, source: site}\n"
        "    group: basın\n    license: CC BY 4.0\n",
    )
    assert local_digest("corpus") != before
    changes = {"corpus.source": "local", "corpus.digest": local_digest("corpus")}
    params = make_params(changes).corpus
    assert list(raw_documents(params, seed=1)) == [
        Document("Bir.", "a", "basın", "haber_1.jsonl", 1),
        Document("İki.", "kitap", "kitap", "kitap.jsonl", 1),
    ]
    assert licenses_of(params) == [
        License("haber_1", "CC BY 4.0", True),
        License("kitap", "not stated", None),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sources:\n  - {files: yok.jsonl}", r"no file is named 'yok\.jsonl' \(there are: haber_1"),
        (
            "sources:\n  - {files: kitap.jsonl, lisans: x}",
            r"key `sources\.0\.lisans`; allowed here: files",
        ),
        ("sources:\n  - {files: kitap.jsonl, fields: {metin: x}}", "fields: metin; allowed: text"),
        ("sources:\n  - {files: kitap.jsonl, quota: 0}", "`sources.0.quota` = 0: .*greater"),
        ("- kitap.jsonl", "must hold a mapping of sources, not list"),
        ("sources: [", "is not valid YAML"),
    ],
)
def test_what_is_wrong_is_named(folder, text, message):
    write(folder, text)
    with pytest.raises(UserError, match=message):
        entries(folder)


def test_quotas_of_both_places():
    listed = [Entry(files="a", group="basın", quota=5), Entry(files="b", name="kitap")]
    assert quotas_of(listed, {"web": 2, "basın": 5}) == {"web": 2, "basın": 5}
    with pytest.raises(UserError, match="quota of group basın: 6 and 5; give it once"):
        quotas_of(listed, {"basın": 6})
    with pytest.raises(UserError, match="needs a `group` or a `name`"):
        quotas_of([Entry(files="a", quota=1)], {})


def test_a_file_that_grows_while_it_is_read_is_named(folder, make_params):
    rows = "\n".join(json.dumps({"text": f"Satır {n}."}) for n in range(50))
    (folder / "kitap.jsonl").write_text(rows)
    changes = {"corpus.source": "local", "corpus.digest": local_digest("corpus")}
    documents = raw_documents(make_params(changes).corpus, seed=1)
    next(documents), next(documents)
    with (folder / "kitap.jsonl").open("a") as stream:
        stream.write('\n{"text": "Daha."}')
    with pytest.raises(UserError, match=r"kitap\.jsonl changed while it was read"):
        list(documents)
