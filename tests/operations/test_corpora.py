"""The corpora that can be named in `corpus.hub`, each in the layout that it has on the hub."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from diffutron.config.params import parse_params
from diffutron.data.sources.licenses import check_licenses
from diffutron.data.sources.sources import licenses_of, raw_documents
from diffutron.operations.corpora import CORPORA
from diffutron.operations.profiles import compose, differences
from diffutron.runtime.errors import UserError
from diffutron.runtime.yaml_files import read_yaml

# Where each has its files: (file, other columns of a row), as its page on the hub shows.
LAYOUT = {
    "diffutron": ("data/train-00000-of-00001.parquet", {}),
    "fineweb2": ("data/tur_Latn/train/000_00000.parquet", {"url": "a", "language_score": 0.9}),
    "vngrs_web": ("data/train-00000-of-00284.parquet", {"corpus": "mc4", "original_id": 1}),
    "bellaturca_academic": ("akademik-derlem/part1.jsonl", {}),
    "bellaturca_web": ("ozenli-derlem/part1.jsonl", {}),
    "muhaz": ("muhaz_01.jsonl.zst", {"url": "a", "title": "b"}),
    "wikipedia": ("20231101.tr/train-00000-of-00002.parquet", {"id": "1", "title": "b"}),
}
CARDS = {
    "HuggingFaceFW/fineweb-2": """
- config_name: swh_Latn
  data_files: [{split: train, path: data/swh_Latn/train/*}]
- config_name: tur_Latn
  data_files:
  - {split: train, path: data/tur_Latn/train/*}
  - {split: test, path: data/tur_Latn/test/*}
""",
    "vngrs/vngrs-web-corpus": """
- config_name: default
  data_files: [{split: train, path: data/train-*}]
""",
    "turkish-nlp-suite/BellaTurca": """
- config_name: AkademikDerlem
  data_files: [{split: train, path: akademik-derlem/*jsonl}]
- config_name: OzenliDerlem
  data_files: [{split: train, path: ozenli-derlem/*jsonl}]
""",
    "wikimedia/wikipedia": """
- config_name: 20231101.tr
  data_files: [{split: train, path: 20231101.tr/train-*}]
""",
}


def known(repo) -> dict[str, dict]:
    return read_yaml(repo / CORPORA)


def as_file(name: str, row: dict) -> bytes:
    if name.endswith(".parquet"):
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([row]), sink)
        return sink.getvalue()
    line = (json.dumps(row) + "\n").encode()
    return zstandard.compress(line) if name.endswith(".zst") else line


@pytest.fixture
def corpora(hub, repo, monkeypatch):
    """Each known corpus lies on the hub with one text, which is its own name."""
    monkeypatch.chdir(repo)
    for name, entry in known(repo).items():
        folder = hub.store.folder / "datasets" / entry["name"]
        path, others = LAYOUT[name]
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(as_file(path, {"text": name, **others}))
        if "tur_Latn" in path:
            other = folder / path.replace("tur_Latn", "swh_Latn")
            other.parent.mkdir(parents=True)
            other.write_bytes(as_file(path, {"text": "Habari ya leo.", **others}))
        if entry["name"] in CARDS:
            (folder / "README.md").write_text(f"---\nconfigs:{CARDS[entry['name']]}---\n", "utf-8")
    return hub


def composed(*overrides: str, pinned: bool = True):
    values = compose("demo", ["corpus.source=hub", *overrides], pinned=pinned)
    return parse_params(values, origin="test").corpus


def test_each_corpus_is_read_at_the_commit_that_main_has(corpora, repo):
    corpus = composed(f"corpus.hub=[{', '.join(known(repo))}]")
    assert [document.text for document in raw_documents(corpus, seed=1)] == [*known(repo)]
    assert [document.group for document in raw_documents(corpus, seed=1)][1:] == [*known(repo)][1:]
    assert all(entry.revision == "main" and entry.commit for entry in corpus.hub)


def test_keys_beside_a_name_go_on_top_of_its_entry(repo, monkeypatch):
    monkeypatch.chdir(repo)
    (one,) = composed("corpus.hub=[{name: muhaz, limit: 5, group: lessons}]", pinned=False).hub
    assert (one.name, one.limit, one.group) == ("nyuuzyou/muhaz", 5, "lessons")
    assert composed("corpus.hub=muhaz", pinned=False).hub[0].limit is None


def test_what_changed_fits_a_line(repo, monkeypatch):
    monkeypatch.chdir(repo)
    names = "corpus.hub=[fineweb2, muhaz]"
    (line,) = differences(compose("demo", pinned=False), compose("demo", [names], pinned=False))
    assert line.startswith("corpus.hub: [{'name': 'diffutron/")
    assert line.count(" ...") == 2
    assert len(line) < 150


def test_commercial_use_leaves_out_what_its_license_forbids(repo, monkeypatch):
    monkeypatch.chdir(repo)
    refused = []
    for name in known(repo):
        try:
            found = licenses_of(composed(f"corpus.hub={name}", pinned=False))
            check_licenses(found, use="commercial", allowed=[])
        except UserError:
            refused.append(name)
    assert refused == ["diffutron", "vngrs_web"]  # not stated, and not for commercial use


def test_an_unknown_name_is_told_with_the_known(repo, monkeypatch):
    monkeypatch.chdir(repo)
    with pytest.raises(UserError, match="corpus.hub: `muhazz` is no corpus .* fineweb2, vngrs_web"):
        composed("corpus.hub=[fineweb2, muhazz]", pinned=False)


@pytest.mark.parametrize(
    "hub", ["7", "[7]", "{name: muhaz}", "[[muhaz]]", "[{name: [muhaz]}]", "[{name: a/b}]"]
)
def test_what_is_no_list_of_sets_is_refused_as_any_wrong_value(hub, repo, monkeypatch):
    monkeypatch.chdir(repo)
    with pytest.raises(UserError, match=r"corpus\.hub"):
        composed(f"corpus.hub={hub}", pinned=False)


def test_the_table_of_the_guide_has_them_all(repo):
    guide = (repo / "docs/data.md").read_text("utf-8")
    rows = [line for line in guide.splitlines() if line.startswith("| `")]
    for name, entry in known(repo).items():
        (row,) = [row for row in rows if row.startswith(f"| `{name}` |")]
        assert entry["name"] in row
        assert entry.get("license", "not stated") in row
