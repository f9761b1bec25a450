"""The loop in this process: it learns, resumes to the bit, and stops when it diverges."""

import csv
import json

import pytest
import torch

from diffutron.modeling.encoder import encoder_matrices, load_model
from diffutron.runtime.errors import StageFailure
from diffutron.runtime.live import new_curve
from diffutron.training.batches import number_of_steps
from diffutron.training.checkpoint import Checkpoints
from diffutron.training.ema import MovingAverage
from diffutron.training.ranks import training_process
from diffutron.training.record import rise
from diffutron.training.trainer import MaskedLoss, Trainer
from tests.support.trainings import before


def _poison(training):
    with torch.no_grad():
        training.model.head.dense.weight.fill_(torch.nan)


def _weights(training):
    return torch.cat([p.detach().flatten() for p in training.model.parameters()])


def test_it_learns_and_keeps_count(train, corpus_dir):
    done = train(steps=30)
    curve = done.state.curve
    assert done.state.eval_loss < 0.9 * done.state.eval_loss_before
    assert [point["step"] for point in curve] == list(range(1, 31))
    measured = [point["step"] for point in curve if point["eval_loss"] is not None]
    assert measured == [6, 12, 18, 24, 30]
    assert done.state.losses == []
    samples = done.data.samples
    assert done.figures()["epochs"] == 30 / 8
    whole_epochs = 3 * int(samples.length.sum())
    assert whole_epochs < done.state.tokens < whole_epochs / 3 * 4
    assert 0 < done.state.masked < done.state.tokens
    assert done.evaluate() == done.evaluate() == pytest.approx(done.state.eval_loss, rel=1e-5)


@pytest.mark.parametrize("zero_stage", [0, 1])
def test_the_curve_is_there_while_it_runs(train, tmp_path, monkeypatch, zero_stage):
    """A line for each point, the held-out loss before the first step, and lengths of gradients."""
    table = tmp_path / "live.csv"
    new_curve(table)
    monkeypatch.setenv("DIFFUTRON_CURVE", str(table))
    done = train(steps=6, zero_stage=zero_stage)
    with table.open(encoding="utf-8") as stream:
        first, *rows = csv.DictReader(stream)
    assert (first["step"], first["loss"]) == ("0", "")
    assert float(first["eval_loss"]) == done.state.eval_loss_before
    assert [float(row["loss"]) for row in rows] == [one["loss"] for one in done.state.curve]
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(float(row["grad_norm"]) > 0 and float(row["tokens_per_s"]) > 0 for row in rows)


def test_losses_match_the_golden_run(train, repo):
    """Seeded losses of a short run; a change that means to alter them says why."""
    golden = repo / "tests" / "golden" / "pretrain_losses.json"
    losses = [point["loss"] for point in train(zero_stage=0).state.curve]
    assert losses == pytest.approx(json.loads(golden.read_text()), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, 0.0], ids=["full", "lora"])
def test_zero_stages_train_alike(lora, train):
    """Accumulation differs as well: one row a micro-batch against all at once."""
    plain = train(name="0", steps=6, zero_stage=0, micro_batch_rows=50, lora=lora)
    for stage in (1, 2, 3):
        zero = train(name=f"{stage}", steps=6, zero_stage=stage, micro_batch_rows=1, lora=lora)
        for one, two in zip(plain.state.curve, zero.state.curve, strict=True):
            assert one["loss"] == pytest.approx(two["loss"], rel=1e-5)
        torch.testing.assert_close(_weights(plain), _weights(zero), rtol=1e-3, atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("ema_decay", [None, 0.5], ids=["plain", "ema"])
@pytest.mark.parametrize("lora", [None, 0.0], ids=["full", "lora"])
@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_bf16_ends_in_exact_weights(zero_stage, lora, ema_decay, train, tiny_model_dir):
    """What a GPU does, on the CPU: every stage ends in float32 weights, resumed ones in the same.

    Trained weights are finer than bf16. Frozen ones are those of the start, not rounded.
    """
    settings = {"precision": "bf16", "zero_stage": zero_stage, "lora": lora, "steps": 4}
    settings |= {"ema_decay": ema_decay, "checkpoint_every": 2}
    done = train(name="whole", **settings)
    train(name="cut", stop_at=3, **settings)
    resumed = train(name="cut", **settings)
    assert (done.figures()["precision"], resumed.resumed_from) == ("bf16", 2)
    assert torch.equal(_weights(done), _weights(resumed))
    first = load_model(tiny_model_dir, made_by="backbone").state_dict()
    fine = []
    for name, weight in done.model.named_parameters():
        assert weight.dtype == torch.float32
        if lora is None or "lora" in name:
            fine.append(not torch.equal(weight, weight.bfloat16().float()))
        else:
            assert torch.equal(weight, first[name.replace(".base_layer", "")]), name
    assert any(fine)


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_bf16_begins_at_the_float32_weights(zero_stage, train, tiny_model_dir):
    """With a learning rate of next to nothing the exported weights are those of the start."""
    settings = {"precision": "bf16", "zero_stage": zero_stage, "steps": 1}
    done = train(**settings, learning_rate=1e-30, weight_decay=0.0)
    first = load_model(tiny_model_dir, made_by="backbone").state_dict()
    for name, weight in done.model.named_parameters():
        torch.testing.assert_close(weight, first[name], rtol=0, atol=1e-25)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_a_first_step_is_as_long_in_bf16(zero_stage, optimizer, train, tiny_model_dir):
    """What DeepSpeed does to the optimizer before the first step leaves no trace, nor does decay.

    Muon makes the smallest directions of a gradient, which are mostly rounding, as long as others.
    """
    settings = {"steps": 1, "warmup_ratio": 0.0, "weight_decay": 0.3, "optimizer.name": optimizer}
    first = load_model(tiny_model_dir, made_by="backbone").state_dict()
    exact = train(name="exact", zero_stage=0, **settings)
    rounded = train(name="rounded", zero_stage=zero_stage, precision="bf16", **settings)
    matrices = set(encoder_matrices(exact.model))
    for (name, one), (_, other) in zip(
        exact.model.named_parameters(), rounded.model.named_parameters(), strict=True
    ):
        lengths = [(weight - first[name]).norm().item() for weight in (one, other)]
        rel = 0.1 if optimizer == "muon" and one in matrices else 0.02
        assert lengths[0] == pytest.approx(lengths[1], rel=rel), name


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_infinite_gradients_end_the_run(zero_stage, precision, train, monkeypatch):
    """The loss stays finite, and DeepSpeed leaves such a step out without a word."""
    forward = MaskedLoss.forward

    def infinite(loss, micro):
        found = forward(loss, micro)
        if found.requires_grad:
            found.register_hook(lambda grad: grad * torch.inf)
        return found

    monkeypatch.setattr(MaskedLoss, "forward", infinite)
    # ZeRO counts the steps that it leaves out; without it the weights are no numbers afterwards.
    with pytest.raises(StageFailure, match=r"infinite or no numbers|the loss at step 2 is nan"):
        train(zero_stage=zero_stage, precision=precision, checkpoint_every=10, evaluate_every=10)


def test_a_step_that_is_left_out_is_on_record(train, monkeypatch):
    forward, calls = MaskedLoss.forward, []

    def infinite_once(loss, micro):
        found = forward(loss, micro)
        if found.requires_grad:
            calls.append(micro)
            if len(calls) == 3:
                found.register_hook(lambda grad: grad * torch.inf)
        return found

    monkeypatch.setattr(MaskedLoss, "forward", infinite_once)
    done = train(zero_stage=2, steps=6, micro_batch_rows=50)
    assert done.figures()["skipped_steps"] == 1
    assert [point["skipped_steps"] for point in done.state.curve] == [0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("zero_stage", [0, 2])
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(zero_stage, train, capsys):
    whole = train(name="whole", zero_stage=zero_stage)
    train(name="cut", stop_at=8, zero_stage=zero_stage)
    resumed = train(name="cut", zero_stage=zero_stage)
    assert resumed.resumed_from == 5
    assert "pretrain: resumed at step 5 of 12" in capsys.readouterr().out
    assert torch.equal(_weights(whole), _weights(resumed))
    assert whole.state.curve == resumed.state.curve


def test_dropout_is_keyed_by_the_step(train):
    dropout = {"lora": 0.3, "zero_stage": 1, "steps": 8}
    train(name="cut", stop_at=6, **dropout)
    resumed, whole = train(name="cut", **dropout), train(name="whole", **dropout)
    assert torch.equal(_weights(whole), _weights(resumed))
    without = train(name="none", **dropout | {"lora": 0.0})
    assert without.state.curve[-1]["loss"] != whole.state.curve[-1]["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", [0, 2, 3])
def test_the_moving_average_matches_the_recursion(zero_stage, train, tiny_model_dir, monkeypatch):
    """Over the weights after each step, through an interruption; it is what is exported."""
    seen = {}
    update = MovingAverage.update

    def watched(average, step):
        seen[step] = {name: _whole(weight) for name, weight in average.weights.items()}
        update(average, step)

    monkeypatch.setattr(MovingAverage, "update", watched)
    settings = {"name": "cut", "zero_stage": zero_stage, "ema_decay": 0.5}
    train(stop_at=8, **settings)
    resumed = train(**settings)
    assert (resumed.resumed_from, sorted(seen)) == (5, list(range(1, 13)))
    first = load_model(tiny_model_dir, made_by="backbone").state_dict()
    for name, exported in resumed.engine.module.named_parameters():
        average = first[name.removeprefix("model.")]
        for step in range(1, 13):
            decay = min(0.5, (1 + step) / (10 + step))
            average = decay * average + (1 - decay) * seen[step][name]
        torch.testing.assert_close(exported.detach(), average, rtol=1e-4, atol=1e-6)
    raw = resumed.state.curve[-1]["eval_loss"]
    assert resumed.state.eval_loss != raw
    if zero_stage < 3:  # its pieces are gone once the weights are settled
        assert resumed.evaluate() == pytest.approx(resumed.state.eval_loss, rel=1e-5)


def _whole(weight):
    if hasattr(weight, "ds_tensor"):
        return weight.ds_tensor[: weight.ds_numel].view(weight.ds_shape).clone()
    return weight.detach().clone()


def test_gradient_checkpointing_changes_nothing(train):
    plain = train(name="a", steps=4, gradient_checkpointing=False)
    saving = train(name="b", steps=4, gradient_checkpointing=True)
    assert saving.model.is_gradient_checkpointing
    assert [p["loss"] for p in plain.state.curve] == pytest.approx(
        [p["loss"] for p in saving.state.curve], rel=1e-6
    )


def test_divergence_ends_the_run_and_keeps_the_last_good_checkpoint(train, monkeypatch):
    monkeypatch.setattr(Trainer, "_start", _poisoned_at(7, Trainer._start))
    with pytest.raises(StageFailure, match=r"step 8 is nan; lower training\.learning_rate or"):
        train(name="bad")
    with training_process() as ranks:
        assert Checkpoints("bad", ranks, zero_stage=0).newest().step == 5


def _shake(training):
    with torch.no_grad():
        training.model.head.norm.weight.mul_(50.0)


def test_a_rise_is_told_from_the_lowest_mean_and_not_from_the_start():
    falling = [8.0, 7.0, 6.0, 2.0, 1.0, 1.0, 1.0, 1.0]
    assert rise(falling, window=2) == 1.0
    assert rise([*falling, 3.0, 3.0], window=2) == 3.0  # far below the start
    assert rise([*falling, 1.0, 3.0], window=2) == 2.0
    assert rise([1.0, 9.0, 9.0], window=2) == 1.0  # two windows are needed
    assert rise([0.0, 0.0, 0.0, 0.0], window=2) == 1.0


def test_a_loss_that_rises_far_above_its_lowest_ends_the_run(train, monkeypatch):
    rule = {"spike_steps": 3, "spike_ratio": 2.0}
    steady = train(name="steady", learning_rate=1e-9, **rule)
    assert len(steady.state.curve) == 12
    monkeypatch.setattr(Trainer, "_start", _poisoned_at(7, Trainer._start, _shake))
    with pytest.raises(StageFailure, match=r"at step \d+ .* 3 steps is .* times its lowest so far"):
        train(name="spike", learning_rate=1e-9, **rule)
    with training_process() as ranks:
        assert Checkpoints("spike", ranks, zero_stage=0).newest().step == 5


def test_a_warning_comes_once_before_the_end(train, monkeypatch, capsys):
    monkeypatch.setattr("diffutron.training.record.rise", lambda losses, window: 3.0)
    train(name="warned", spike_ratio=5.0)
    (told,) = [line for line in capsys.readouterr().out.splitlines() if "lowest so far" in line]
    assert told.endswith("is 3.0 times its lowest so far; at 5 times the run ends")


def _poisoned_at(step, start, action=_poison):
    def starting(training):
        before(training, step, action)
        return start(training)

    return starting


def test_number_of_steps_from_epochs(short_params):
    training = short_params(
        {"pretrain.training.steps": None, "pretrain.training.epochs": 2.5}
    ).pretrain.training
    assert number_of_steps(training, 61) == 20  # 8 steps an epoch
    assert number_of_steps(training, 1) == 2
    assert number_of_steps(short_params().pretrain.training, 10**6) == 12
