"""`diffutron params`: profiles compose, typos fail, changes made by hand are not lost."""

import re

import pytest

from diffutron.config.params import load_params
from diffutron.operations.profiles import changed_by_hand, compose, names, write_params
from diffutron.runtime.errors import UserError
from diffutron.runtime.yaml_files import read_yaml


@pytest.fixture
def in_repo(repo, monkeypatch):
    monkeypatch.chdir(repo)


@pytest.mark.usefixtures("in_repo")
class TestProfiles:
    def test_the_profiles_are_there(self):
        assert names() == ["demo", "paper", "small"]

    def test_paper_holds_the_published_settings(self):
        paper = compose("paper")
        assert paper["pretrain"]["lora"]["rank"] == paper["pretrain"]["lora"]["alpha"] == 256
        assert paper["corpus"]["max_tokens"] == 512
        assert paper["instructions"]["max_tokens"] == 256
        assert paper["instruct_phase1"]["training"]["batch_size"] == 16
        assert paper["instruct_phase1"]["training"]["learning_rate"] == 0.0001
        for phase in ("instruct_phase1", "instruct_phase2"):
            assert [compose(name)[phase]["normalize"] for name in ("demo", "paper")] == [
                "token",
                "answer",
            ]
        assert paper["backbone"]["num_layers"] == 22

    def test_every_value_of_paper_says_where_it_comes_from(self, repo):
        text = (repo / "infra/profiles/paper.yaml").read_text(encoding="utf-8")
        for line in text.splitlines():
            is_value = re.match(r"\s*(- )?\{?\w+: *\S", line)
            if is_value and not line.startswith(("profile", "defaults")):
                assert re.search("# (published|ours|rank and alpha published)", line), line

    def test_small_takes_the_digest_of_its_folder(self, tmp_path, monkeypatch):
        for name, row in (
            ("corpus/a.jsonl", '{"text": "Bir metin.", "source": "a"}'),
            ("instruct/b.jsonl", '{"instruction": "x", "input": "", "output": "y"}'),
            ("cetvel/ironytr.jsonl", '{"text": "x", "label": 1}'),
            ("writings/w.jsonl", '{"text": "x"}'),
        ):
            file = tmp_path / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(row + "\n", encoding="utf-8")
        monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
        before = compose("small")
        (tmp_path / "corpus/a.jsonl").write_text('{"text": "Another."}\n', encoding="utf-8")
        after = compose("small")
        assert before["corpus"]["digest"] != after["corpus"]["digest"]
        assert before["instructions"]["digest"] == after["instructions"]["digest"]

    def test_small_without_a_folder_says_what_to_set(self):
        with pytest.raises(UserError, match="DIFFUTRON_DATA"):
            compose("small")

    @pytest.mark.parametrize(
        ("override", "path", "value"),
        [
            ("seed=7", "seed", 7),
            ("pretrain.training.learning_rate=1e-3", "pretrain.training.learning_rate", 0.001),
            ("evaluate.tasks=[news_cat,sts_tr]", "evaluate.tasks", ["news_cat", "sts_tr"]),
            ("evaluate.tasks=[ news_cat ]", "evaluate.tasks", ["news_cat"]),
            ("evaluate.max_items=null", "evaluate.max_items", None),
            ("evaluate.casing='cetvel'", "evaluate.casing", "cetvel"),
            ('backbone.revision="1.0"', "backbone.revision", "1.0"),
            ("corpus.language.kept=[]", "corpus.language.kept", []),
            ("report.title=Türkçe ışık: İyi", "report.title", None),
            ("report.title='Türkçe ışık: İyi'", "report.title", "Türkçe ışık: İyi"),
            ("report.title=a=b", "report.title", "a=b"),
            ("corpus.quotas={bilim: 3}", "corpus.quotas", {"bilim": 3}),
            (
                "pretrain.schedule={name: geometric, beta_min: 0.001, beta_max: 10}",
                "pretrain.schedule",
                {"name": "geometric", "beta_min": 0.001, "beta_max": 10},
            ),
            (
                "corpus.near_duplicate={bands: 10}",  # the other keys stay
                "corpus.near_duplicate",
                {"ngram": 3, "bands": 10, "rows": 5, "threshold": 0.95},
            ),
        ],
    )
    def test_an_override_is_a_key_and_a_value_of_yaml(self, override, path, value, tmp_path):
        if value is None and "null" not in override:
            with pytest.raises(UserError, match="report.title"):  # a mapping, by its colon
                compose("demo", [override])
            return
        out = tmp_path / "params.yaml"
        write_params("demo", [override], path=out, keep_changes=True)
        for found in (compose("demo", [override]), read_yaml(out)):
            for key in path.split("."):
                found = found[key]
            assert found == value

    def test_the_last_override_of_a_key_counts(self):
        assert compose("demo", ["seed=1", "seed=2"])["seed"] == 2

    @pytest.mark.parametrize(
        ("overrides", "message"),
        [
            (["pretrain.lora.rnk=3"], "unknown key `pretrain.lora.rnk`; allowed here: rank, alp"),
            (["pretrain.lora.rank=x"], "pretrain.lora.rank"),
            (["pretrain"], "override pretrain: write -S key=value"),
            (["=3"], "override =3: write -S key=value"),
            (["seed..x=3"], "override seed..x=3: write -S key=value"),
            (["seed=[1"], r"override seed=\[1 is not valid YAML"),
            (["evaluation.items=3"], "`evaluation.items` is now called `evaluate.max_items`"),
            (["evaluate.items=3"], "`evaluate.items` is now called `evaluate.max_items`"),
            (
                ["pretrain.training.row_tokens=64"],
                "`pretrain.training.row_tokens` is now called `pretrain.training.packed_length`",
            ),
        ],
    )
    def test_a_wrong_override_is_named(self, overrides, message):
        with pytest.raises(UserError, match=message):
            compose("demo", overrides)

    def test_an_unknown_profile_lists_the_known(self):
        with pytest.raises(UserError, match="demo, paper, small"):
            compose("huge")

    def test_changes_made_by_hand_are_refused_or_put_aside(self, tmp_path):
        path = tmp_path / "params.yaml"
        assert write_params("demo", ["seed=4"], path=path, keep_changes=True) is None
        assert load_params(path).seed == 4
        assert not changed_by_hand(path)
        assert write_params("demo", [], path=path, keep_changes=True) is None
        path.write_text(path.read_text("utf-8").replace("seed: 13", "seed: 5"), "utf-8")
        assert changed_by_hand(path)
        with pytest.raises(UserError, match="changes made by hand"):
            write_params("demo", [], path=path, keep_changes=True)
        aside = write_params("demo", [], path=path, keep_changes=False)
        assert aside is not None
        assert read_yaml(aside)["seed"] == 5
        assert read_yaml(path)["seed"] == 13

    def test_current_changes_the_file_itself(self, tmp_path):
        path = tmp_path / "params.yaml"
        with pytest.raises(UserError, match="does not exist"):
            write_params("current", ["seed=4"], path=path, keep_changes=True)
        write_params("demo", ["seed=4"], path=path, keep_changes=True)
        assert write_params("current", ["seed=5"], path=path, keep_changes=True) is None
        assert load_params(path).seed == 5
        assert changed_by_hand(path)
        write_params("current", ["seed=4"], path=path, keep_changes=True)
        assert not changed_by_hand(path)
        with pytest.raises(UserError, match="override sed=1"):
            write_params("current", ["sed=1"], path=path, keep_changes=True)

    def test_the_committed_file_is_a_profile_that_nobody_changed(self, repo, tmp_path):
        path = tmp_path / "params.yaml"
        committed = (repo / "infra/profiles/demo.yaml").read_text("utf-8")
        path.write_text(committed, "utf-8")
        assert not changed_by_hand(path)
        assert write_params("demo", [], path=path, keep_changes=True) is None
        assert path.read_text("utf-8") == committed  # with its comments
        assert write_params("demo", ["seed=4"], path=path, keep_changes=True) is None
        assert load_params(path).seed == 4
        path.write_text(committed.replace("seed: 13", "seed: 5"), "utf-8")
        assert changed_by_hand(path)
