"""The benchmarks at the tiny shape: their keys and their equalities, never their times."""

import importlib
import json
from pathlib import Path

import pytest
import torch

from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet
from diffutron.data.matching.decontaminate import Contamination, items_of

pytestmark = pytest.mark.slow
KEYS = {"case", "speedup", "memory_ratio", "peak_share", "max_abs_diff"}


@pytest.fixture(autouse=True)
def _from_the_repository(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(repo))
    monkeypatch.chdir(repo)


@pytest.fixture
def run(capsys):
    def measured(name: str) -> dict[str, dict]:
        benchmark = importlib.import_module(f"benchmarks.{name}")
        main = importlib.import_module("benchmarks.parts.command").main
        main(benchmark.cases, ["--shape", "tiny", "--json", "--repeats", "1"])
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert all(row.keys() >= KEYS for row in rows)
        return {row["case"]: row for row in rows}

    return measured


@pytest.mark.parametrize(("name", "case"), [("train_step", "train"), ("packing", "packed")])
def test_training_steps_give_equal_losses_and_gradients(run, name: str, case: str) -> None:
    rows = run(name)
    assert list(rows) == [case]
    assert rows[case]["max_abs_diff"] < 1e-5
    assert rows[case]["largest_gradient"] > 1e-4
    assert (rows[case]["padding_share"] > 0) == (case == "packed")


def test_bf16_gives_the_loss_of_float32(run) -> None:
    rows = run("half_precision")
    assert list(rows) == ["bf16"]
    assert rows["bf16"]["loss_difference"] < 0.01


def test_products_of_both_libraries_agree(run) -> None:
    rows = run("products")
    assert list(rows) == ["forward", "input", "weight", "head", "new_forward"]
    assert all(row["max_abs_diff"] < 1e-3 for row in rows.values())


def test_sampling_gives_equal_canvases(run) -> None:
    rows = run("sampling")
    assert list(rows) == ["greedy_b1", "greedy_b8", "t1"]
    assert rows["greedy_b1"]["max_abs_diff"] == rows["greedy_b8"]["max_abs_diff"] == 0
    assert rows["t1"]["max_abs_diff"] < 1e-12


def test_a_cut_vocabulary_gives_equal_logits_of_kept_tokens(run) -> None:
    rows = run("vocabulary")
    assert list(rows) == ["greedy_b1", "choice1_shared4", "full_step", "lora_step"]
    assert all(row["max_abs_diff"] < 1e-4 for row in rows.values())
    whole, cut = rows["full_step"]["parameters"]
    assert whole - cut == (8192 - 852) * 257


def test_likelihoods_equal_the_bound_by_enumeration(run, monkeypatch) -> None:
    estimators = importlib.import_module("benchmarks.parts.estimators")
    monkeypatch.setattr(estimators, "REPLAYS", 300)
    rows = run("likelihood")
    assert list(rows) == ["choice1_shared4", "choice1", "choice3", "choice8"]
    for case in ("choice1_shared4", "choice1", "choice3"):
        assert rows[case]["exact"]
        assert rows[case]["max_abs_diff"] < 1e-4
    assert [rows[case]["rows"] for case in rows] == [1, 1, 25, 128]
    assert abs(rows["choice8"]["z"]) < 4.5
    assert abs(rows["choice8"]["plain_z"]) < 4.5
    assert rows["choice8"]["variance_ratio"] < 0.45


def test_served_texts_equal_those_of_generate(capsys) -> None:
    serving = importlib.import_module("benchmarks.serving")
    shapes = importlib.import_module("benchmarks.parts.shapes")
    nano = shapes.Shape(200, 32, 2, 2, 48, 4)
    rows = list(serving.measure(nano, [1, 3], num_requests=6))
    assert [(row["clients"], row["requests"], row["equal"]) for row in rows] == [
        (1, 6, True),
        (3, 6, True),
    ]
    assert rows[0]["passes"] == 6 * serving.NEW_TOKENS  # no text ends early
    assert rows[0]["rows_per_pass"] == 1.0
    assert all(0 < row["p50_s"] <= row["p99_s"] and row["tokens_per_s"] > 0 for row in rows)
    with pytest.raises(SystemExit) as stopped:
        serving.main(["--shape", "demo", "--clients", "0"])
    assert stopped.value.code == 2


def test_all_128_steps_of_eight_unequal_prompts_agree_in_float64() -> None:
    shapes = importlib.import_module("benchmarks.parts.shapes")
    sampling = importlib.import_module("benchmarks.sampling")
    nano = shapes.Shape(60, 32, 2, 2, 48, 4)
    model = shapes.new_model(nano).double()
    answers = sampling.Answers(sampling.EIGHT, nano)
    options = {"num_steps": 128, "temperature": 0.0}
    theirs = sampling.plain_steps(model, answers, **options)
    ours = sampling.our_steps(model, answers, **options)
    assert len(ours) == len(theirs) == 128
    assert all(map(torch.equal, ours, theirs))
    assert not (ours[-1] == shapes.MASK).any()


def test_rounds_are_paired_in_changing_order() -> None:
    measure = importlib.import_module("benchmarks.parts.measure")
    order: list[str] = []
    found = measure.compare(
        "case", lambda: order.append("plain"), lambda: order.append("ours"), repeats=2, scale=3
    )
    assert order == ["plain", "ours", "ours", "plain"]
    found.plain.seconds, found.ours.seconds = [2.0, 4.0], [1.0, 1.0]
    found.plain.peak_bytes, found.ours.peak_bytes, found.peaks = [800], [200], [100.0, 50.0]
    row = found.row("case", flops=40, max_abs_diff=0.0)
    assert (row["speedup"], row["speedup_range"]) == (9.0, [6.0, 12.0])
    assert (row["memory_ratio"], row["peak_share"]) == (0.25, 0.4)


def test_the_peak_of_memory_counts_what_a_run_held() -> None:
    measure = importlib.import_module("benchmarks.parts.measure")
    runs = measure.Runs()
    runs.add(lambda: torch.ones(2**25).sum())
    if runs.memory is None:
        pytest.skip("needs Linux with /proc/self/clear_refs to count resident memory")
    assert runs.memory > 0.9 * 2**27


def test_the_lines_for_readers_name_every_figure(capsys) -> None:
    command = importlib.import_module("benchmarks.parts.command")
    command.main(
        lambda shape, repeats: iter([{"case": "a", "speedup": repeats}]),
        ["--shape", "tiny", "--repeats", "7"],
    )
    printed = capsys.readouterr().out
    assert printed.startswith("a\n")
    assert "speedup          7" in printed
    with pytest.raises(SystemExit) as stopped:
        command.main(lambda shape, repeats: iter([]), ["--shape", "huge"])
    assert stopped.value.code == 2


def test_joins_find_what_is_planted(tmp_path) -> None:
    found = importlib.import_module("benchmarks.joins").measure(20_000, tmp_path)
    assert found["found"] == found["planted"] == 900
    assert found["kept"] == 19_100


def test_both_engines_find_the_same_shared_keys(tmp_path) -> None:
    engines = importlib.import_module("benchmarks.join_engines")
    engines.write_bands(tmp_path / "bands.parquet", 2 * engines.PART)
    rounds = [{one: engines.run(one, tmp_path / "bands.parquet") for one in engines.ENGINES}]
    assert rounds[0]["duckdb"]["shared"] == 2 * engines.COPIES * engines.BANDS
    assert engines.summary(rounds)["equal"]


def test_planted_items_are_counted_by_form(make_params):
    """A rule that looks for nothing finds nothing of what the benchmark plants."""
    contamination = importlib.import_module("benchmarks.contamination")
    rows = [
        {"row": n, "premise": f"Ofis {n} gün kapalıydı.", "choice1": f"Tatil {n} gündü.",
         "choice2": "Yazdı.", "label": 0} for n in range(9)
    ]  # fmt: skip
    one = EvaluationSet("xcopa_tr", "xcopa_tr", rows, "here")
    hosts = ["Bambaşka bir konudan söz eden uzun bir yazı. " * 12]
    rules = make_params().corpus.contamination
    for rule, share in ((rules, 1), (rules.model_copy(update={"whole_fields": None}), 0)):
        index = Contamination(items_of("xcopa_tr", rows), rule)
        found = contamination.plant(one, index, hosts)
        assert set(found) == {"verbatim", "instruction", *contamination.DISGUISES}
        assert all(n == {"planted": 9, "found": 9 * share} for n in found.values())
