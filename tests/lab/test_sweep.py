"""A sweep from a file to verdicts: each thing runs once, at the budget, and what ran is kept."""

import json
from collections import Counter
from pathlib import Path

import pytest

from diffutron.lab.page import mean_curves, table, table_rows
from diffutron.lab.sweep import TIMING_STEPS, sweep
from diffutron.lab.sweep_file import read_sweep
from diffutron.lab.workshop import _from_anywhere
from diffutron.operations.profiles import compose
from diffutron.runtime.errors import StageFailure, UserError

pytestmark = pytest.mark.slow

KEYS = (
    "mean", "sd", "n", "difference", "interval", "p", "verdict", "cpu_seconds", "tokens", "flops",
    "peak_bytes",
)  # fmt: skip


def run(name="sweep.yaml", *, workers=1, out="out"):
    told: list[str] = []
    return sweep(Path(name), out=Path(out), workers=workers, told=told.append), told


def ran() -> Counter[str]:
    file = Path("work.py").parent / "runs.txt"
    return Counter(file.read_text().splitlines()) if file.exists() else Counter()


def edit(**changes):
    """The file with other values of its keys."""
    from diffutron.runtime.yaml_files import read_yaml, yaml_text

    values = read_yaml(Path("sweep.yaml")) | changes
    Path("sweep.yaml").write_text(yaml_text(values))


def test_arms_at_the_budget_with_verdicts(lab):
    found, told = run()
    assert list(found["arms"]) == ["base", "faster", "same"]
    for arm in found["arms"].values():
        assert arm.keys() >= set(KEYS)
        assert arm["n"] == 3
        assert arm["cpu_seconds"] == pytest.approx(100)  # 200 steps of half a second
        assert (arm["tokens"], arm["flops"], arm["peak_bytes"]) == (20_000, 2e8, 1000)
    assert found["arms"]["base"]["verdict"] is None
    assert found["arms"]["faster"]["difference"] == pytest.approx(-0.8)
    assert found["arms"]["faster"]["verdict"] == "better"
    assert found["arms"]["same"]["verdict"] == "cannot be told"
    assert found["best"] == "faster"
    assert "faster, seed 1: backbone 200 steps" in told
    assert found["degrees_of_freedom"]["backbone.eval_loss"] == 2


def test_what_is_equal_runs_once_and_a_second_call_runs_nothing(lab):
    run()
    first = ran()
    for seed in (1, 2, 3):
        assert first[f"tokenizer {seed}"] == first[f"corpus {seed}"] == 1
        assert first[f"backbone {seed}"] == 4  # two recipes, each timed and run
    found, _ = run()
    assert ran() == first
    assert found["ran"] == 0
    edit(arms={"faster": {"backbone.training.learning_rate": 0.09}}, seeds=[1, 2, 3, 4])
    run()
    assert ran() - first == Counter({"tokenizer 4": 1, "corpus 4": 1, "backbone 4": 4})


def test_two_workers_find_the_same(lab):
    alone, _ = run()
    together, _ = run(workers=2, out="other")
    assert together["arms"] == alone["arms"]
    before = ran()
    assert all(count <= 8 for count in before.values())


def test_the_models_of_the_best_arm_alone_are_kept(lab):
    found, _ = run()
    kept = {path.name for path in Path("out/work").iterdir()}
    assert kept == set(found["kept"])
    assert len([name for name in kept if name.startswith("backbone")]) == 3


@pytest.mark.parametrize(
    ("budget", "steps"),
    [({"tokens": 5_000}, 50), ({"flops": 7e7}, 70), ({"cpu_seconds": 20}, 40), (None, 3600)],
)
def test_every_budget_becomes_steps(lab, budget, steps):
    edit(budget=budget, seeds=[1], arms={})
    found, _ = run()
    assert found["runs"][0]["steps"] == {"backbone": steps}
    curve = found["runs"][0]["curves"]["backbone"]
    assert curve[-1]["tokens"] <= 100 * steps
    assert ran()["backbone 1"] == (2 if budget else 1)


def test_an_arm_that_fails_is_told_and_the_rest_is_kept(lab):
    edit(arms={"wild": {"backbone.training.learning_rate": 0.9}}, seeds=[1])
    with pytest.raises(StageFailure, match="backbone: error: backbone: the loss at step 3 is nan"):
        run()
    before = ran()
    edit(arms={"faster": {"backbone.training.learning_rate": 0.09}})
    found, _ = run()
    assert (ran() - before)["backbone 1"] == 2  # of the new arm; the base was kept
    assert found["arms"]["faster"]["n"] == 1


def test_the_page_and_the_table(lab):
    found, _ = run()
    page = Path("out/sweep.html").read_text()
    assert page.count("<polyline") == 6  # three arms, over tokens and over seconds
    assert "backbone.eval_loss (lower is better)" in page
    assert "<script src" not in page
    rows = table_rows(found, "backbone.eval_loss")
    assert [row[0] for row in rows] == ["base", "faster *", "same"]
    assert table(found, "backbone.eval_loss").row_count == 3
    curves = mean_curves(found, "backbone", "cpu_seconds")
    assert curves["base"][-1][0] == pytest.approx(100)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"profile": "none"}, "profile `none` is unknown"),
        ({"stages": ["backbone"]}, "the stage backbone reads what"),
        ({"stages": ["tokenizer", "corpus"]}, "none of the stages trains"),
        ({"stages": ["nothing"]}, "`stages.0`"),
        ({"measure": ["heldout.bits_per_byte", "news"]}, "'news' is no metric"),
        ({"measure": ["tasks.news_cat.acc"]}, "needs the stage `evaluate`"),
        ({"measure": ["pretrain.eval_loss"]}, "needs the stage pretrain"),
        ({"measure": ["backbone.nothing"]}, "backbone.nothing was not measured"),
        ({"budget": {"cpu_seconds": 1, "tokens": 2}}, "give one of cpu_seconds, tokens and flops"),
        ({"budget": {}}, "give one of cpu_seconds, tokens and flops"),
        ({"seeds": []}, "`seeds`"),
        ({"seeds": [1, 1]}, "each may stand there once"),
        ({"arms": {"base": {}}}, "`base` always runs"),
        ({"arms": {"a/b": {}}}, "must be of letters"),
        ({"arms": {"wrong": {"backbone.rate": 1}}}, "arm wrong"),
        ({"extra": 1}, "unknown key `extra`"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(lab, changes, said):
    edit(**changes)
    with pytest.raises(UserError) as error:
        run()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_more_workers_than_processors(lab):
    with pytest.raises(UserError, match="this machine has"):
        run(workers=1000)


def test_a_step_finds_the_task_files_from_its_own_folder(tmp_path, monkeypatch):
    """The path is a fact of the machine: what a step is named by holds it as it was written."""
    monkeypatch.chdir(tmp_path)
    values = {"seed": 1, "evaluate": {"tasks_dir": "my-tasks", "traces": 2}}
    found = _from_anywhere(values)
    assert found == {"seed": 1, "evaluate": {"tasks_dir": f"{tmp_path}/my-tasks", "traces": 2}}
    assert values["evaluate"]["tasks_dir"] == "my-tasks"
    without = {"seed": 1, "evaluate": {"tasks_dir": None}}
    assert _from_anywhere(without) == without


def test_a_file_that_is_absent(lab):
    with pytest.raises(UserError, match=r"none\.yaml does not exist"):
        run("none.yaml")


def test_the_stages_run_in_their_order(lab):
    assert read_sweep(Path("sweep.yaml")).stages == ["tokenizer", "corpus", "backbone"]
    assert TIMING_STEPS == 30


def test_every_shipped_sweep_can_run(repo, tmp_path, monkeypatch):
    """Each arm is a valid recipe of its profile, and no two arms are the same one."""
    for kind in ("corpus", "instruct", "cetvel", "writings"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "rows.jsonl").write_text("{}\n")
    monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
    monkeypatch.chdir(repo)
    files = sorted(Path("infra/sweeps").glob("*.yaml"))
    assert files
    for file in files:
        found = read_sweep(file)
        recipes = [
            json.dumps(
                compose(
                    found.profile,
                    [f"{key}={json.dumps(value)}" for key, value in own.items()],
                    pinned=False,
                ),
                default=str,
            )
            for own in found.overrides.values()
        ]
        assert len({*recipes}) == len(found.arms) + 1, file
