"""The benchmarks that come with the package: their rows, counts and published numbers."""

import hashlib
import json
import re
from collections import Counter
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffutron.data.own_tasks import SHIPPED, OwnTask, shipped_names
from diffutron.data.task_folder import named_tasks, read_tasks
from diffutron.runtime.errors import UserError

BUCKETS = {
    "ad_yuva": 539, "ad_cekimi": 354, "ek_zinciri": 105, "fiil_cekimi": 93, "istisna_ozel_ad": 92,
    "yapim_eki": 92, "cati": 91, "istisna_birlesik_isim": 91, "istisna_sayi": 91,
    "istisna_kisaltma": 90, "istisna_unlu_dusmesi": 90, "istisna_uyum_kirici": 71,
    "istisna_ikizlesme": 35, "istisna_kaynastirma_istisna": 2,
}  # fmt: skip
MADE_UP = [
    {
        "kimlik": "1", "kova": "ad_cekimi", "govde": "zapık", "hucre": ["ı", "sert", 2, "uyumlu"],
        "secenek": ["zapıka", "zapığa", "zapığe"], "altin_sira": 1,
    },
    {
        "kimlik": "2", "kova": "cati", "govde": "zapmak", "bayrak": [],
        "secenek": ["zapıldı", "zapındı", "zapuldu"], "altin_sira": 0,
    },
]  # fmt: skip


@pytest.fixture(scope="module")
def bench():
    """The bench's own package, where it is installed."""
    return pytest.importorskip("turkmorfbench", reason="needs the extra `bench`")


@pytest.fixture(scope="module")
def morphology(bench):
    return OwnTask(SHIPPED / "turkmorfbench.yaml").rows()


def test_each_file_is_named_like_its_task():
    assert shipped_names() == ["turblimp", "turkmorfbench"]
    assert list(read_tasks(SHIPPED)) == shipped_names()


def test_the_counts_of_the_buckets_are_those_of_the_bench(bench, morphology):
    from turkmorfbench.veri import CEKIRDEK_N, yukle

    assert Counter(row["part"] for row in morphology.rows) == BUCKETS
    assert Counter(item["kova"] for item in yukle()) == BUCKETS
    assert len(morphology.rows) == CEKIRDEK_N == 1836
    assert len({row["cluster"] for row in morphology.rows}) == 339
    assert sum(row["cluster"] == "no cell" for row in morphology.rows) == 838


@pytest.mark.slow
def test_an_item_is_asked_and_scored_as_the_bench_does(bench, morphology):
    """The same texts, and the same choice from the same log-probabilities."""
    from turkmorfbench import olcum
    from turkmorfbench.veri import yukle

    from diffutron.evaluation.cetvel.protocols import PROTOCOLS
    from diffutron.evaluation.cetvel.questions import ask
    from diffutron.evaluation.scorers.answer import Answer
    from diffutron.evaluation.scoring.task_numbers import answered

    def logprob(text: str) -> float:
        return -1 - int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) / 2**28

    class Backend:
        def olasilik(self, istem: str, aday: str) -> float:
            return logprob(istem + aday) / len(aday)

    wanted = olcum.secim_olc(Backend(), yukle(), isci=1)
    questions = ask(morphology, PROTOCOLS["corrected"])
    for one, item in zip(questions, yukle(), strict=True):
        values = [logprob(context + choice) for context, choice in one.pairs]
        found = answered(one, Answer.of_values(values, by_length=True))
        assert found.correct == wanted[item["kimlik"]][0], item
        assert one.choices[one.gold] == item["altin"]


@pytest.mark.slow
def test_the_interval_is_the_cluster_bootstrap_of_the_bench(bench, morphology):
    from turkmorfbench.istatistik import esli_fark, kume_bootstrap
    from turkmorfbench.veri import yukle

    from diffutron.evaluation.statistics.intervals import cluster_interval
    from diffutron.evaluation.statistics.pair_tests import Results, compare

    items, groups = yukle(), {row["row"]: row["cluster"] for row in morphology.rows}
    right, other = (
        [hashlib.sha256(f"{salt}{item['kimlik']}".encode()).digest()[0] < share for item in items]
        for salt, share in (("a", 150), ("b", 120))
    )
    found = cluster_interval(right, [*groups.values()])
    wanted = kume_bootstrap(items, right, "hucre", b=2000)
    assert len(set(groups.values())) == wanted.n_kume
    assert found == pytest.approx(list(wanted.ci), abs=0.01)

    a, b = (
        Results(name, {"x": dict(zip(groups, values, strict=True))}, {"x": groups})
        for name, values in (("a", right), ("b", other))
    )
    (pair,) = compare(a, b, protocol="corrected")
    theirs = esli_fark(items, right, other, "hucre", b=2000)
    assert pair["difference"] == pytest.approx(theirs["fark"])
    assert pair["cluster_interval"] == pytest.approx(list(theirs["ci"]), abs=0.012)


def test_published_scores_are_those_of_the_readme_of_the_bench(bench):
    text = distribution("turkmorfbench").read_text("METADATA") or ""
    english = text[text.index("## English") :]
    lines = re.findall(
        r"^\| \d+ \| (.+?) \| .+? \| (\S+) \| \*\*(.+?)\*\* \| (.+?)–(.+?) \|", english, re.M
    )
    found = OwnTask(SHIPPED / "turkmorfbench.yaml").spec.metadata.published
    assert found is not None
    assert len(found.systems) == len(lines) == 17
    for one, (name, size, *shares) in zip(found.systems, lines, strict=True):
        assert one.name == name.replace("*", "").replace("taban", "base")
        assert one.size == size.replace(",", ".")
        assert [one.acc, one.low, one.high] == pytest.approx([float(s) / 100 for s in shares])


def without(name: str, *keys: str) -> str:
    """The text of a shipped task file without the lines of these keys of `metadata`."""
    lines = (SHIPPED / f"{name}.yaml").read_text("utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(tuple(f"  {k}:" for k in keys)))


@pytest.fixture
def made_up(monkeypatch, tmp_path):
    """A task file for a made-up package of the same form, and where its rows lie."""
    rows = tmp_path / "turkmorfbench" / "veri" / "cekirdek.json"
    rows.parent.mkdir(parents=True)
    rows.write_text(json.dumps({"surum": "0", "maddeler": MADE_UP}), "utf-8")

    class Installed:
        def locate_file(self, name: str) -> Path:
            return tmp_path / name

    monkeypatch.setattr("diffutron.data.task_rows.distribution", lambda _: Installed())
    monkeypatch.setattr("diffutron.data.task_rows.version", lambda _: "0.1")
    path = tmp_path / "t.yaml"
    path.write_text(without("turkmorfbench", "rows", "sha256"), "utf-8")
    return path, rows


def test_rows_come_out_of_an_installed_package(made_up):
    found = OwnTask(made_up[0]).rows()
    assert found.origin == "turkmorfbench 0.1, cekirdek.json"
    first, second = found.rows
    assert first["context"] == "Kelime: zapık\nÇekimli biçim:"
    assert first["choices"][first["gold"]] == "zapığa"
    assert [row["part"] for row in found.rows] == ["ad_cekimi", "cati"]
    assert [row["cluster"] for row in found.rows] == ["ı sert 2 uyumlu", "no cell"]
    assert second["row"] == 2


@pytest.mark.parametrize("content", [[], {"madde": []}, {"maddeler": 3}])
def test_a_package_of_another_form_is_one_line(made_up, content):
    path, rows = made_up
    rows.write_text(json.dumps(content), "utf-8")
    with pytest.raises(UserError, match="no list of rows under the key 'maddeler'"):
        OwnTask(path).rows()


@pytest.mark.slow
def test_an_absent_package_is_told_with_its_extra(monkeypatch):
    def absent(name: str):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("diffutron.data.task_rows.distribution", absent)
    with pytest.raises(UserError, match=r"not installed; pip install 'diffutron\[bench\]'$"):
        OwnTask(SHIPPED / "turkmorfbench.yaml").rows()

    from diffutron.evaluation.leaderboard.tasks import list_tasks

    listed = {one["task"]: one for one in list_tasks(None, data="sample")}
    assert (listed["turkmorfbench"]["rows"], listed["turkmorfbench"]["chance"]) == (1836, None)
    assert "pip install" in listed["turkmorfbench"]["from"]


HEAD = "good_sentence;bad_sentence;good_cue;bad_cue;critical_region;phenomenon"
PAIRS = {
    "augmented_binding.csv": [
        "Ali onu gördü, dedi.;Ali kendi gördü, dedi.;onu;kendi;gördü;binding",
        "Ayşe onu sevdi.;Ayşe kendi sevdi.;onu;kendi;sevdi;binding  ",
    ],
    "augmented_subject_verb_agreement.csv": [
        "Biz geldik.;Siz geldik.;Biz;Siz;geldik;subject_verb_agreement",
        "Biz gittik.;Biz gittik.;Biz;Biz;gittik;subject_verb_agreement",
    ],
}


@pytest.fixture
def pairs_file(tmp_path):
    """TurBLiMP's task file without its number of rows, so that a few pairs are enough."""
    path = tmp_path / "turblimp.yaml"
    path.write_text(without("turblimp", "rows"), "utf-8")
    return path


def test_pairs_of_the_files_of_the_authors(pairs_file, tmp_path):
    (tmp_path / "data" / "turblimp").mkdir(parents=True)
    for name, lines in PAIRS.items():
        text = "\n".join([HEAD, *lines]) + "\n"
        (tmp_path / "data" / "turblimp" / name).write_text(text, "utf-8")
    found = OwnTask(pairs_file).rows(tmp_path / "data")
    assert found.dropped == {"two equal texts": 1}
    assert [row["row"] for row in found.rows] == [1, 2, 3], "numbers run over all files"
    assert [row["cluster"] for row in found.rows] == ["binding", "binding", "subject_agreement"]
    good = [line.partition(";")[0] for lines in PAIRS.values() for line in lines][:3]
    assert [row["choices"][row["gold"]] for row in found.rows] == good
    with pytest.raises(UserError, match=r"holds no turblimp/augmented_\*\.csv; put the files"):
        OwnTask(pairs_file).rows(tmp_path)
    with pytest.raises(UserError, match="`metadata.rows` = 16000, but .* has 4 rows"):
        OwnTask(SHIPPED / "turblimp.yaml").rows(tmp_path / "data")


@pytest.mark.slow
def test_pairs_of_the_hub_name_their_phenomenon(hub, pairs_file):
    own = OwnTask(pairs_file)
    assert own.spec.dataset_name is not None
    assert len(own.spec.dataset_name) == 16
    place = hub.store.folder / "datasets" / own.spec.dataset_path
    (place / "data").mkdir(parents=True)
    card = ["---", "configs:"]
    for name in own.spec.dataset_name:
        pair = {"sentence_good": f"Bu {name} iyi.", "sentence_bad": f"Bu {name} kötü."}
        file = f"data/{name}-train.parquet"
        pq.write_table(pa.Table.from_pylist([pair, {**pair, "sentence_good": "Ev."}]), place / file)
        card += [f"- config_name: {name}", f'  data_files: "data/{name}*.parquet"']
    (place / "README.md").write_text("\n".join([*card, "---", ""]), "utf-8")
    found = own.rows()
    assert Counter(row["cluster"] for row in found.rows) == dict.fromkeys(own.spec.dataset_name, 2)
    assert [row["row"] for row in found.rows] == list(range(1, 33))
    for row in found.rows[::2]:
        assert row["choices"][row["gold"]] == f"Bu {row['cluster']} iyi."


def test_a_shipped_task_is_asked_by_name_alone(tmp_path):
    assert named_tasks(None, None) == {}
    assert list(named_tasks(None, ["news_cat", "turblimp"])) == ["turblimp"]
    text = without("turblimp", "rows").replace("arXiv 2506.13487", "mine")
    (tmp_path / "mine.yaml").write_text(text, "utf-8")
    (task,) = named_tasks(tmp_path, ["turblimp"]).values()
    assert task.path == tmp_path / "mine.yaml", "a file of one's own goes before"
