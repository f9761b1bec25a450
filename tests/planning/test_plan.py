"""`diffutron plan`: counts that are known exactly, formulas against the paper they are from."""

import json
import re

import pytest
from typer.testing import CliRunner

from diffutron.cli.app import app
from diffutron.config.params import STAGES, parse_params
from diffutron.operations.profiles import compose
from diffutron.planning.data_volume import SAMPLE_ITEM_TOKENS, Texts, Volume, own_items, volume_of
from diffutron.planning.model_cost import (
    activation_bytes,
    communication_bytes,
    model_state_bytes,
    shape_of,
    whole_and_cut,
)
from diffutron.planning.plan import Machine, plan, plan_training, this_machine
from diffutron.planning.table import table, zero_table
from tests.support.own_tasks import write_own_tasks

CPU = Machine(ranks=None, flops_per_s=1e11, on_gpu=False)


@pytest.fixture(scope="module")
def paper(repo):
    return parse_params(compose("paper", folder=repo / "infra" / "profiles"), origin="paper")


@pytest.fixture(scope="module")
def paper_shape(paper):
    return shape_of(paper)


def test_a_cut_vocabulary_is_planned_for(paper, paper_shape):
    """As measured: 26 624 entries for 24 000 tokens (docs/performance.md)."""
    cut = paper.model_copy(update={"tokenizer": paper.tokenizer.model_copy(update={"trim": 24000})})
    shape = shape_of(cut)
    assert shape.vocab_size == pytest.approx(26_624, rel=0.01)
    gone = paper_shape.vocab_size - shape.vocab_size
    assert paper_shape.parameters - shape.parameters == gone * 769
    for params, named in ((cut, 1), (paper, 0)):
        lines = plan(params, machine=CPU)["assumptions"]
        assert sum("tokenizer.trim" in line for line in lines) == named


@pytest.fixture(scope="module")
def paper_plan(paper):
    return plan(paper, machine=Machine(ranks=8, flops_per_s=4e14, on_gpu=True))


@pytest.fixture(scope="module")
def demo_plan(repo):
    demo = parse_params(compose("demo", folder=repo / "infra" / "profiles"), origin="demo")
    return plan(demo, machine=CPU)


def test_the_paper_shape_has_the_published_parameters(paper_plan):
    model = paper_plan["model"]
    assert 307e6 < model["parameters"] < 308e6
    assert model["adapter_parameters"] == 54_067_200
    assert round(100 * model["trainable_share"], 2) == 14.94


def test_weights_without_memory(paper_shape):
    devices = {str(parameter.device) for parameter in paper_shape.adapted.parameters()}
    assert devices == {"meta"}


def test_every_stage_is_planned_in_plain_numbers(paper_plan):
    assert [stage["name"] for stage in paper_plan["stages"]] == list(STAGES)
    keys = ["name", "tokens", "flops", "memory_bytes_per_rank", "hours", "disk_bytes"]
    keys += ["communication_bytes_per_step", "zero_stage", "by_zero_stage"]
    assert all(list(stage) == keys for stage in paper_plan["stages"])
    assert json.loads(json.dumps(paper_plan)) == paper_plan


def stage(planned, name):
    return next(each for each in planned["stages"] if each["name"] == name)


def test_pretraining_costs_what_performance_was_measured_by(paper_plan):
    """Frozen base: 441 MFLOP a token for the linears, 789 for the head, and for the adapters 324,
    or as much as trainable linears cost more, which is 220."""
    pretrain = stage(paper_plan, "pretrain")
    per_token = pretrain["flops"] / pretrain["tokens"] / 1e6
    without_attention = 441 + 0.5 * 789 + 220
    assert without_attention < per_token < without_attention + 104


def test_hours_are_arithmetic_by_speed_and_the_launches_of_each_step(paper_plan):
    pretrain = stage(paper_plan, "pretrain")
    computing = pretrain["flops"] / (8 * 4e14 * 0.5)
    launching = 15_670 * 22 * 0.003
    assert 3600 * pretrain["hours"] == pytest.approx(12 + computing + launching, rel=0.01)
    few = stage(paper_plan, "instruct_phase1")  # the host is the slower one
    assert 3600 * few["hours"] == pytest.approx(12 + 65_000 * 22 * (0.003 + 0.0017), rel=0.01)
    assert any("on a GPU: assumed" in one for one in paper_plan["assumptions"])


@pytest.mark.parametrize(
    ("name", "tokens", "length", "masked", "milliseconds"),
    [
        ("pretrain", 52_914, 224.0, 0.5, 213.2),
        ("instruct_phase1", 1_381, 90.0, 0.5, 102.7),
        ("instruct_phase2", 5_290, 90.0, 0.5, 126.6),
    ],
)
def test_hours_of_a_gpu_are_near_what_was_measured(
    paper, paper_shape, name, tokens, length, masked, milliseconds
):
    """The part `stages` of `benchmarks.gpu` on an H200, one micro-batch a step."""
    training = getattr(paper, name).training.model_copy(
        update={"micro_batch_rows": 10**6, "batch_size": round(tokens / length)}
    )
    planned = plan_training(
        name,
        training,
        paper_shape,
        Machine(ranks=1, flops_per_s=7.68e14, on_gpu=True),
        tokens=1000 * tokens,
        length=length,
        masked=masked,
        adapter=name == "pretrain",
    )
    seconds = 3600 * planned.hours - 12
    assert milliseconds / 1.5 < seconds < milliseconds * 1.5


PSI = 7_500_000_000  # the example of the ZeRO paper, figure 1: 64 ranks, mixed precision


@pytest.mark.parametrize(("stage", "gigabytes"), [(0, 120), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_model_states_match_the_zero_paper(stage, gigabytes):
    found = model_state_bytes(trainable=PSI, frozen=0, stage=stage, ranks=64, weight_bytes=2)
    assert round(found / 1e9, 1) == gigabytes


def test_frozen_weights_have_neither_gradient_nor_optimizer_state():
    alone = {"ranks": 1, "weight_bytes": 4}
    assert model_state_bytes(trainable=0, frozen=10, stage=0, **alone) == 40
    assert model_state_bytes(trainable=10, frozen=0, stage=0, **alone) == 40 + 40 + 80
    assert model_state_bytes(trainable=10, frozen=0, stage=1, **alone) == 40 + 40 + 120
    assert model_state_bytes(trainable=10, frozen=0, stage=1, by_muon=3, **alone) == 200 - 12


def test_muon_saves_a_moment_of_the_matrices_and_none_of_an_adapter(repo, demo_plan):
    values = compose("demo", folder=repo / "infra" / "profiles")
    for name in ("backbone", "pretrain"):
        values[name]["training"]["optimizer"]["name"] = "muon"
    params = parse_params(values, origin="demo")
    found = plan(params, machine=CPU)
    matrices = 4 * (96 * 96 * 4 + 96 * 192 * 3) + 96 * 96  # of the layers, and of the head
    assert shape_of(params).matrix_parameters == matrices
    for key, saved in (("memory_bytes_per_rank", 4), ("disk_bytes", 8)):
        before, after = (stage(planned, "backbone")[key] for planned in (demo_plan, found))
        assert before - after == saved * matrices
        assert stage(demo_plan, "pretrain")[key] == stage(found, "pretrain")[key]


FULL = {"trainable": 1000, "whole": 100, "cut": 900, "weight_bytes": 2}


@pytest.mark.parametrize(
    ("stage", "micro_batches", "scatters", "elements"),
    [
        (0, 3, True, 2000),  # an all-reduce once a step
        (1, 3, True, 2000 + 1000),  # and a gather of the new weights
        (2, 1, True, 2000 + 1000),
        (2, 3, True, 3 * 2000 + 1000),
        (3, 1, True, 1000 + 2 * 900 + 100),  # the paper's 1.5 times of data parallelism, about
        (3, 3, True, 3 * (1000 + 2 * 900) + 100),
        (3, 3, False, 3 * (2000 + 2 * 900) + 100),
    ],
)
def test_communication_follows_from_ring_algorithms(stage, micro_batches, scatters, elements):
    step = {"stage": stage, "micro_batches": micro_batches, "scatters": scatters}
    assert communication_bytes(**FULL, **step, ranks=4) == elements * 2 * 3 / 4
    assert communication_bytes(**FULL, **step, ranks=1) == 0


def test_own_tasks_are_scored_too(repo, demo_plan, tmp_path):
    folder = write_own_tasks(tmp_path / "tasks")
    given = [f"evaluate.tasks_dir={folder}"]
    values = compose("demo", given, folder=repo / "infra" / "profiles")
    params = parse_params(values, origin="demo")
    assert own_items(params.evaluate) == [30, 30]
    more = stage(plan(params, machine=CPU), "evaluate")["tokens"]
    assert more - stage(demo_plan, "evaluate")["tokens"] == 4 * 60 * SAMPLE_ITEM_TOKENS


def test_small_weights_stay_whole(paper_shape):
    whole, cut = whole_and_cut(paper_shape.base)
    assert whole + cut == paper_shape.parameters
    assert 0 < whole < 1_000_000  # norms and the biases


def test_the_chosen_zero_stage_is_what_a_training_is_planned_with(paper, paper_plan):
    for name in ("pretrain", "instruct_phase1"):
        planned = stage(paper_plan, name)
        chosen = planned["by_zero_stage"][getattr(paper, name).training.zero_stage]
        for key in ("memory_bytes_per_rank", "communication_bytes_per_step"):
            assert chosen[key] == planned[key] > 0
    adapter = 54_067_200
    assert stage(paper_plan, "pretrain")["communication_bytes_per_step"] == 3 * adapter * 2 * 7 / 8
    memory = [
        one["memory_bytes_per_rank"] for one in stage(paper_plan, "pretrain")["by_zero_stage"]
    ]
    assert memory == sorted(memory, reverse=True)
    assert stage(paper_plan, "evaluate")["by_zero_stage"] == []


def test_checkpointing_saves_activations(paper, paper_shape):
    training = paper.pretrain.training
    saving = training.model_copy(update={"gradient_checkpointing": True})
    sizes = [activation_bytes(each, paper_shape, weight_bytes=2) for each in (training, saving)]
    assert sizes[1] < sizes[0] / 5


def test_trained_tokens_are_whole_samples(make_params):
    training = make_params({"pretrain.training.packed_length": 128}).pretrain.training
    volume = Volume(
        {"corpus": Texts(1000, 50.0, "counted"), "instruct_phase1": Texts(9, 300.0, "")}
    )
    steps = training.model_copy(update={"steps": 7, "batch_size": 4})
    assert volume.trained_tokens("corpus", steps) == 7 * 4 * 50
    epochs = training.model_copy(update={"steps": None, "epochs": 2.0})
    assert volume.trained_tokens("corpus", epochs) == 2 * 1000 * 50
    assert volume.trained_tokens("instruct_phase1", epochs) == 2 * 9 * 128


def test_the_sample_is_counted(demo_plan):
    counted = re.fullmatch(r"corpus: ([\d,]+) texts, counted", demo_plan["assumptions"][0])
    assert counted
    assert int(counted.group(1).replace(",", "")) > 3000
    assert 100_000 < stage(demo_plan, "corpus")["tokens"] < 400_000


def test_local_sources_are_weighed(make_params, tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
    for folder, size in (("corpus", 90_000), ("instruct", 36_000)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jsonl").write_text("x" * size)
    sources = {"corpus.source": "local", "instructions.source": "local"}
    volume = volume_of(make_params({**sources, "instructions.max_rows": 30}))
    assert volume.parts["corpus"].count == 100
    assert volume.parts["instruct_phase2"].count == 30
    assert "kept of 100 from 36,000 bytes" in volume.parts["instruct_phase2"].known


def test_published_sizes_stand_for_hub_sources(paper):
    corpus = volume_of(paper).parts["corpus"]
    assert corpus.count == 2_005_712


def test_a_scratch_backbone_is_trained_and_another_one_only_fetched(demo_plan, paper_plan):
    assert stage(demo_plan, "backbone")["flops"] > 1e11
    assert stage(paper_plan, "backbone")["flops"] == 0


@pytest.mark.slow
def test_more_masks_meet_the_head_more_often(repo, demo_plan):
    """30 % of the tokens as a masked language model; half of them, or more, by diffusion."""

    def flops(low: float) -> float:
        values = compose("demo", folder=repo / "infra" / "profiles")
        values["backbone"]["objective"] = "diffusion"
        values["backbone"]["training"]["mask_rates"]["low"] = low
        return stage(plan(parse_params(values, origin="demo"), machine=CPU), "backbone")["flops"]

    fewest = stage(demo_plan, "backbone")["flops"]
    assert (flops(0.4) - flops(0.0)) / (flops(0.0) - fewest) == pytest.approx(1.0, rel=1e-3)


@pytest.mark.slow
def test_replayed_documents_cost_what_they_would_cost_alone(repo, demo_plan):
    values = compose("demo", folder=repo / "infra" / "profiles")
    phase, pretrain = values["instruct_phase2"], values["pretrain"]
    phase["replay"]["documents"] = 8
    with_replay = stage(plan(parse_params(values, origin="demo"), machine=CPU), "instruct_phase2")
    pretrain["training"] |= {"steps": phase["training"]["steps"], "batch_size": 8}
    alone = stage(plan(parse_params(values, origin="demo"), machine=CPU), "pretrain")
    rows = stage(demo_plan, "instruct_phase2")
    assert with_replay["tokens"] - rows["tokens"] == pytest.approx(alone["tokens"], rel=1e-3)
    assert with_replay["flops"] > rows["flops"] + alone["flops"]  # an adapter is cheaper
    assert with_replay["hours"] > rows["hours"]


def test_the_table_names_every_stage(paper_plan):
    from rich.console import Console

    console = Console(width=100)
    with console.capture() as captured:
        console.print(table(paper_plan))
    text = captured.get()
    assert "307.8 M parameters, adapter 54.07 M (14.94 % of both)" in text
    assert all(name in text for name in STAGES)
    with console.capture() as captured:
        console.print(zero_table(paper_plan))
    text = captured.get()
    counted = {name: text.count(name) for name in ("pretrain", "instruct_phase", "iB")}
    assert counted == {"pretrain": 1, "instruct_phase": 2, "iB": 3 * 8}
    assert text.count("* 9.26 GiB") == 1  # stage 2 of pretrain


def test_speed_is_measured_or_given(monkeypatch):
    monkeypatch.setenv("DIFFUTRON_RANKS", "3")
    here = this_machine()
    assert here.ranks == 3
    assert here.flops_per_s > 1e9
    there = this_machine(ranks=8, gpu_tflops=400)
    assert there == Machine(ranks=8, flops_per_s=0.8 * 4e14, on_gpu=True)


@pytest.mark.parametrize(("by_onednn", "at_96", "at_768"), [(False, 0.2, 0.57), (True, 0.12, 0.65)])
def test_the_share_of_the_speed_is_as_it_was_measured(by_onednn, at_96, at_768):
    machine = Machine(ranks=None, flops_per_s=1e11, on_gpu=False, by_onednn=by_onednn)
    assert machine.reached(96) == pytest.approx(at_96, abs=0.01)
    assert machine.reached(768) == pytest.approx(at_768, abs=0.01)


@pytest.mark.parametrize("options", [["--json"], []])
def test_the_command(repo, monkeypatch, options):
    monkeypatch.chdir(repo)
    done = CliRunner().invoke(app, ["plan", "--profile", "paper", "--gpu-tflops", "400", *options])
    assert done.exit_code == 0, done.output
    if options:
        assert round(json.loads(done.stdout)["model"]["trainable_share"], 4) == 0.1494
    else:
        assert "Profile paper: 307.8 M parameters" in done.stdout
        assert "corpus: 2,005,712 texts, as published" in done.stdout
