"""Muon on the encoder's matrices: the same update at every ZeRO stage, resumed to the bit."""

import json
import os
import subprocess
import sys

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file

from diffutron.modeling.compiled import compile_if_possible
from diffutron.modeling.encoder import count_parameters, encoder_matrices, load_model
from diffutron.planning.model_cost import model_state_bytes
from diffutron.runtime.errors import UserError
from diffutron.training.checkpoint import MANIFEST
from diffutron.training.engine import CONFIG
from diffutron.training.optimizer import make_optimizer
from diffutron.training.quiet_deepspeed import import_deepspeed
from tests.support.project import CLONE

MUON = {"optimizer.name": "muon", "optimizer.muon_learning_rate": 0.02}


def weights(training):
    return torch.cat([p.detach().flatten() for p in training.model.parameters()])


def test_the_update_is_that_of_torch(make_params):
    """Within bf16, in which torch's own Muon iterates; AdamW trains what is no matrix."""
    import_deepspeed()
    changes = {f"pretrain.training.{key}": value for key, value in MUON.items()}
    changes["pretrain.training.optimizer.muon_weight_decay"] = 0.1
    params = make_params(changes | {"pretrain.training.weight_decay": 0.3}).pretrain.training
    shapes = [(8, 5), (5, 8), (6, 6), (7,)]
    torch.manual_seed(1)
    start = [torch.randn(shape) for shape in shapes]
    ours, theirs = ([torch.nn.Parameter(w.clone()) for w in start] for _ in range(2))
    model = torch.nn.Module()
    for number, weight in enumerate(ours):
        model.register_parameter(f"p{number}", weight)
    optimizer = make_optimizer(model, params, ours[:3])
    muon = torch.optim.Muon(theirs[:3], lr=0.02, weight_decay=0.1, momentum=0.95)
    lr, betas = params.learning_rate, params.betas
    adamw = torch.optim.AdamW(theirs[3:], lr=lr, betas=betas, weight_decay=0.0)
    for _ in range(4):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        with compile_if_possible():
            for each in (optimizer, muon, adamw):
                each.step()
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        atol = 4 * 0.02 * 0.02 if number < 3 else 1e-6  # steps, rate and rounding of bf16
        torch.testing.assert_close(one, other, rtol=1e-6, atol=atol)
        assert (one - start[number]).abs().max() > 0.005


def test_muon_trains_the_hidden_matrices_alone(train, tiny_model_dir):
    """A first step is orthogonal there; elsewhere it is the one of AdamW."""
    first = load_model(tiny_model_dir, made_by="backbone")
    settings = {"steps": 1, "warmup_ratio": 0.0, "weight_decay": 0.0, "zero_stage": 0}
    settings |= {
        "optimizer.muon_weight_decay": 0.0,
        "max_grad_norm": 1e6,
    }  # Muon runs without clipping
    muon = train(name="muon", **settings, **MUON)
    adamw = train(name="adamw", **settings)
    assert (muon.figures()["optimizer"], adamw.figures()["optimizer"]) == ("muon", "adamw")
    chosen = set(encoder_matrices(muon.model))
    names = {name for name, weight in muon.model.named_parameters() if weight in chosen}
    layers = len(first.model.layers)
    assert len(names) == 4 * layers + 1  # and the dense matrix of the head
    assert not any("norm" in name or "embed" in name or "decoder" in name for name in names)
    other = dict(adamw.model.named_parameters())
    for (name, weight), (_, begun) in zip(
        muon.model.named_parameters(), first.named_parameters(), strict=True
    ):
        if name not in names:
            torch.testing.assert_close(weight, other[name], rtol=1e-4, atol=1e-6)
            continue
        rows, columns = weight.shape
        step = (begun - weight) / 0.02 / max(1.0, rows / columns) ** 0.5
        values = torch.linalg.svdvals(step.detach())
        assert values.max() < 1.3
        assert values[4] > 0.6  # the gradients of so few tokens have a low rank


@pytest.mark.parametrize("zero_stage", [1, 2, 3])
def test_zero_stages_make_the_same_steps(zero_stage, train):
    """Accumulation differs as well: one row a micro-batch against all at once."""
    settings = MUON | {"steps": 4, "weight_decay": 0.1, "max_grad_norm": 0.5}
    plain = train(name="0", zero_stage=0, micro_batch_rows=50, **settings)
    zero = train(name="1", zero_stage=zero_stage, micro_batch_rows=1, **settings)
    torch.testing.assert_close(weights(plain), weights(zero), rtol=1e-4, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_bf16_trains_at_every_stage(zero_stage, train):
    """As on a GPU: losses are those of float32 within the rounding of the weights."""
    exact = train(name="a", steps=6, zero_stage=0, **MUON)
    rounded = train(name="b", steps=6, zero_stage=zero_stage, precision="bf16", **MUON)
    for one, two in zip(exact.state.curve, rounded.state.curve, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_resumed_to_the_bit(zero_stage, train):
    settings = MUON | {"zero_stage": zero_stage}
    train(name="cut", stop_at=7, **settings)
    resumed, whole = train(name="cut", **settings), train(name="whole", **settings)
    assert resumed.resumed_from == 5
    assert torch.equal(weights(whole), weights(resumed))
    assert whole.state.curve == resumed.state.curve


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", [1, 2, 3])
def test_settings_for_a_slow_network_change_nothing(zero_stage, train, monkeypatch):
    plain = train(name="a", steps=3, zero_stage=zero_stage, **MUON)
    monkeypatch.setenv(CONFIG, str(CLONE / "infra" / "deepspeed" / "slow-network.json"))
    slow = train(name="b", steps=3, zero_stage=zero_stage, **MUON)
    assert slow.figures()["optimizer"] == "muon"
    torch.testing.assert_close(weights(plain), weights(slow), rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("zero_stage", [1, 2])
def test_a_matrix_has_one_moment_and_the_plan_counts_it(zero_stage, train):
    """By the file that holds the exact weights and the state of the optimizer."""
    training = train(stop_at=7, zero_stage=zero_stage, **MUON)
    (file,) = training.checkpoints.newest().folder.glob("*optim_states.pt")
    count = {"trainable": count_parameters(training.model)["trainable"], "frozen": 0}
    by_muon = sum(weight.numel() for weight in encoder_matrices(training.model))
    state = {
        number: model_state_bytes(
            **count, stage=zero_stage, ranks=1, weight_bytes=4, by_muon=number
        )
        - model_state_bytes(**count, stage=3, ranks=10**9, weight_bytes=4)
        - 8 * count["trainable"]  # the weights and their gradients
        for number in (0, by_muon)
    }
    assert file.stat().st_size == pytest.approx(state[by_muon], rel=0.1)
    assert file.stat().st_size < 0.9 * state[0]


def test_adapters_are_trained_by_adamw_and_a_line_says_so(train, capfd):
    settings = {"steps": 3, "lora": 0.0}
    asked = train(name="a", **settings, **MUON)
    assert "optimizer: Muon does not run on adapters; AdamW trains all" in capfd.readouterr().out
    assert asked.figures()["optimizer"] == "adamw"
    assert torch.equal(weights(asked), weights(train(name="b", **settings)))


def test_offloaded_weights_are_trained_by_adamw_and_a_line_says_so(train, monkeypatch, capfd):
    monkeypatch.setenv(CONFIG, str(CLONE / "infra" / "deepspeed" / "offload.json"))
    done = train(steps=2, zero_stage=2, **MUON)
    assert "Muon does not run with offload_optimizer; AdamW" in capfd.readouterr().out
    assert done.figures()["optimizer"] == "adamw"


@pytest.fixture
def backbone(short_params, tiny_tokenizer_dir, corpus_dir, tmp_path):
    """`backbone("a", ranks=2, zero_stage=1)`: the stage as a user runs it; its process."""

    def run(name: str, *, ranks: int, **changes: object) -> subprocess.CompletedProcess[str]:
        changes = MUON | {"steps": 6, "weight_decay": 0.1, **changes}
        params = short_params({f"backbone.training.{k}": v for k, v in changes.items()})
        file = tmp_path / f"{name}.yaml"
        with file.open("w") as stream:
            YAML().dump(params.model_dump(mode="json", by_alias=True), stream)
        options = {"--tokenizer": tiny_tokenizer_dir, "--corpus": corpus_dir, "--params": file}
        options |= {"--out": tmp_path / name, "--metrics": tmp_path / f"{name}.json"}
        words = [str(word) for pair in options.items() for word in pair]
        return subprocess.run(
            [sys.executable, "-m", "diffutron", "backbone", *words],
            env=os.environ | {"DIFFUTRON_RANKS": str(ranks), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_ranks_make_the_steps_of_one(backbone, tmp_path):
    """Matrices are cut in the middle by the border between the ranks' shares."""

    def trained(name: str, **settings: int) -> dict[str, torch.Tensor]:
        done = backbone(name, **settings)
        assert done.returncode == 0, done.stderr
        values = json.loads((tmp_path / f"{name}.json").read_text())
        assert (values["world_size"], values["optimizer"]) == (settings["ranks"], "muon")
        return load_file(tmp_path / name / "model.safetensors")

    alone = trained("alone", ranks=1, zero_stage=0)
    for zero_stage in (2, 3):  # stage 1 cuts as 2 does, and 0 cuts nothing
        both = trained(f"both-{zero_stage}", ranks=2, zero_stage=zero_stage)
        for name, weight in alone.items():
            torch.testing.assert_close(both[name], weight, rtol=1e-4, atol=1e-5)


def test_another_number_of_ranks_is_refused_in_one_line(train):
    settings = MUON | {"name": "cut", "zero_stage": 2}
    training = train(stop_at=7, **settings)
    manifest = training.checkpoints.newest().folder / MANIFEST
    values = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(values | {"world_size": 2}))
    with pytest.raises(UserError, match=r"written by 2 ranks, .* Muon .* delete .*cut") as caught:
        train(**settings)
    assert "\n" not in str(caught.value)


def head_sizes(model):
    """Root mean square of the lengths of the query and key rows: (layers, 2 x heads)."""
    heads = 2 * model.config.num_attention_heads
    kept = [layer.attn.Wqkv.weight[: 2 * model.config.hidden_size] for layer in model.model.layers]
    lengths = torch.stack([w.detach().reshape(heads, -1).norm(dim=1) for w in kept])
    return lengths / (2 * model.config.hidden_size / heads) ** 0.5


@pytest.mark.parametrize(("zero_stage", "precision"), [(0, "float32"), (0, "bf16"), (2, "float32")])
def test_queries_and_keys_keep_their_size(zero_stage, precision, train):
    settings = {"steps": 3, "zero_stage": zero_stage, "precision": precision}
    free = head_sizes(train(name="free", **settings, **MUON).model)
    kept = train(name="kept", **settings, **MUON, **{"optimizer.head_size": 0.7})
    assert (free - 0.7).abs().max() > 0.1
    torch.testing.assert_close(head_sizes(kept.model), torch.full_like(free, 0.7))


@pytest.mark.parametrize("zero_stage", [1, 2, 3])
def test_zero_stages_keep_the_same_size(zero_stage, train):
    """The next forward pass reads the weights that were scaled, whole or in pieces."""
    settings = MUON | {"steps": 3, "optimizer.head_size": 0.7}
    plain = train(name="0", zero_stage=0, **settings)
    zero = train(name="1", zero_stage=zero_stage, **settings)
    torch.testing.assert_close(weights(plain), weights(zero), rtol=1e-4, atol=2e-6)
