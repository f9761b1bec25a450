"""`diffutron params`: profiles compose, typos fail, changes made by hand are not lost."""

import re
from pathlib import Path

import pytest

from diffutron.config.params import load_params
from diffutron.data.sources import sources
from diffutron.operations import profiles
from diffutron.operations.profiles import (
    Written,
    changed_by_hand,
    compose,
    differences,
    names,
    write_params,
)
from diffutron.runtime.errors import UserError
from diffutron.runtime.yaml_files import read_yaml
from tests.support.own_tasks import write_own_tasks

ONE_VALUE = [
    ("seed", "14"),
    ("corpus.language.kept", "[tr, az]"),
    ("corpus.near_duplicate.rows", "6"),
    ("evaluate.max_items", "null"),
    ("backbone.training.ema_decay", "0.999"),
    ("pretrain.training.learning_rate", "0.00001"),
    ("instruct_phase2.training.mask_rates.low", "0.25"),
    ("evaluate.tuned_format", "chat"),
    ("evaluate.max_items_final", "7"),
    ("register.gate.below_baseline", "null"),
    ("report.title", "Benim modelim"),
]


@pytest.fixture
def in_repo(repo, monkeypatch):
    monkeypatch.chdir(repo)


@pytest.fixture
def params_file(repo, tmp_path):
    """`params_file()`: the committed file in a project of its own; with None there is none yet."""
    (tmp_path / ".dvc").mkdir()

    def make(text="", *, name="params.yaml"):
        path = tmp_path / name
        if text is not None:
            path.write_text((repo / "params.yaml").read_text("utf-8"), "utf-8")
        return path

    return make


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

    def test_a_changed_task_file_changes_the_digest_of_the_tasks_alone(self, tmp_path):
        folder = write_own_tasks(tmp_path / "tasks")
        given = [f"evaluate.tasks_dir={folder}"]
        before = compose("demo", given)
        assert compose("demo", given) == before
        file = folder / "s.jsonl"
        file.write_text(file.read_text("utf-8").replace("Kim 7?", "Kim 70?"), "utf-8")
        changed = differences(before, compose("demo", given))
        assert [line.partition(":")[0] for line in changed] == ["evaluate.tasks_digest"]
        assert compose("demo", [*given, "evaluate.tasks_dir=null"]) == compose("demo")

    def test_a_faulty_task_file_is_told_where_its_digest_is_made(self, tmp_path):
        folder = write_own_tasks(tmp_path / "tasks")
        (folder / "cift.yaml").write_text("task: x y\n", "utf-8")
        with pytest.raises(UserError, match=r"cift\.yaml: `task` = 'x y'"):
            compose("demo", [f"evaluate.tasks_dir={folder}"])
        with pytest.raises(UserError, match="evaluate.tasks_dir yok: no such folder"):
            compose("demo", ["evaluate.tasks_dir=yok"])

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
            (["pretrain.lora.rnk=3"], r"dropout; did you mean `pretrain.lora.rank`\?$"),
            (["pretrain.training.step=3"], r"; did you mean `pretrain.training.steps`\?$"),
            (["corpsu.min_tokens=3"], r"; did you mean `corpus`\?$"),
            (["zzz=3"], r"allowed here: profile, .*promote$"),
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

    @pytest.mark.slow
    def test_changes_made_by_hand_are_refused_or_put_aside(self, params_file):
        path = params_file()
        assert write_params("demo", ["seed=4"], path=path, keep_changes=True).aside is None
        assert load_params(path).seed == 4
        assert not changed_by_hand(path)
        assert write_params("demo", [], path=path, keep_changes=True).changed == ["seed: 4 -> 13"]
        path.write_text(path.read_text("utf-8").replace("seed: 13", "seed: 5"), "utf-8")
        assert changed_by_hand(path)
        with pytest.raises(UserError, match="changes made by hand"):
            write_params("demo", [], path=path, keep_changes=True)
        aside = write_params("demo", [], path=path, keep_changes=False).aside
        assert aside is not None
        assert read_yaml(aside)["seed"] == 5
        assert read_yaml(path)["seed"] == 13

    @pytest.mark.slow
    def test_current_changes_the_file_itself(self, params_file):
        path = params_file(None)
        with pytest.raises(UserError, match="does not exist"):
            write_params("current", ["seed=4"], path=path, keep_changes=True)
        write_params("demo", ["seed=4"], path=path, keep_changes=True)
        said = write_params("current", ["seed=5"], path=path, keep_changes=True)
        assert said == Written(["seed: 4 -> 5"])
        assert load_params(path).seed == 5
        with pytest.raises(UserError, match="override sed=1"):
            write_params("current", ["sed=1"], path=path, keep_changes=True)
        # What an override left is no change by hand, so a profile may replace it.
        assert not changed_by_hand(path)
        assert write_params("demo", [], path=path, keep_changes=True).aside is None
        # What a hand has changed stays so, whatever an override adds.
        path.write_text(path.read_text("utf-8").replace("seed: 13", "seed: 5"), "utf-8")
        write_params("current", ["report.title=Neu"], path=path, keep_changes=True)
        assert changed_by_hand(path)

    def test_the_committed_file_is_a_profile_that_nobody_changed(self, params_file):
        path = params_file()
        committed = path.read_text("utf-8")
        assert not changed_by_hand(path)
        assert write_params("demo", [], path=path, keep_changes=True) == Written([])
        assert path.read_text("utf-8") == committed
        path.write_text(committed.replace("seed: 13", "seed: 5"), "utf-8")
        assert changed_by_hand(path)

    @pytest.mark.parametrize(("key", "value"), ONE_VALUE)
    def test_one_changed_value_is_one_changed_line(self, params_file, key, value):
        """Comments, order and layout stay, also when a value goes back to what it was."""
        path = params_file()
        committed = path.read_text("utf-8")
        write_params("current", [f"{key}={value}"], path=path, keep_changes=True)
        old, new = committed.splitlines(), path.read_text("utf-8").splitlines()
        lines = [number for number, line in enumerate(old) if line != new[number]]
        assert len(old) == len(new)
        assert len(lines) == 1
        for number in lines:
            assert old[number].partition(" # ")[2] in new[number]
        write_params("demo", [], path=path, keep_changes=True)
        assert path.read_text("utf-8").split() == committed.split()

    @pytest.mark.parametrize("profile", names(Path(__file__).parents[2] / "infra/profiles"))
    def test_every_profile_keeps_the_comments(self, profile, params_file, monkeypatch, tmp_path):
        monkeypatch.setattr(profiles, "pin", lambda values: None)
        monkeypatch.setattr(sources, "local_digest", lambda section: "0" * 64)
        path, new = params_file(), params_file(None, name="new.yaml")
        committed = path.read_text("utf-8")
        for one in (path, new):
            write_params(profile, [], path=one, keep_changes=True)
            assert read_yaml(one) == compose(profile)
            assert one.read_text("utf-8").count("#") == committed.count("#")
        write_params("demo", [], path=path, keep_changes=True)
        assert path.read_text("utf-8").split() == committed.split()

    def test_a_folder_that_dvc_does_not_keep_gets_nothing_but_the_file(self, tmp_path):
        path = tmp_path / "params.yaml"
        write_params("demo", ["seed=4"], path=path, keep_changes=True)
        assert [one.name for one in tmp_path.iterdir()] == ["params.yaml"]
        assert changed_by_hand(path)  # nothing says that it was not
