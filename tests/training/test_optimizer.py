"""The learning rate at the joints of its schedule, and what decays."""

import pytest
import torch

from diffutron.training.optimizer import learning_rate, make_optimizer


@pytest.fixture
def training(make_params):
    keys = {
        "warmup_ratio": 0.1,
        "decay_from_ratio": 0.5,
        "final_lr_ratio": 0.2,
        "learning_rate": 1.0,
    }
    changes = {f"pretrain.training.{key}": value for key, value in keys.items()}
    return make_params(changes).pretrain.training


def test_learning_rate_at_its_joints(training):
    rates = [learning_rate(step, training, steps=100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:50] == [1.0] * 41
    assert rates[75] == pytest.approx(0.2 + 0.8 * 0.5)
    assert 0.2 < rates[99] < 0.22
    assert all(a >= b for a, b in zip(rates[49:], rates[50:], strict=False))


def test_learning_rate_without_warm_up_or_decay(make_params):
    flat = {"pretrain.training.warmup_ratio": 0.0, "pretrain.training.decay_from_ratio": 1.0}
    training = make_params(flat).pretrain.training
    assert {learning_rate(s, training, steps=7) for s in range(7)} == {training.learning_rate}


def test_vectors_do_not_decay(make_params):
    training = make_params({"pretrain.training.weight_decay": 0.1}).pretrain.training
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    model[0].weight.requires_grad_(True)
    groups = make_optimizer(model, training, []).param_groups
    decays = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
    assert decays[id(model[0].weight)] == 0.1
    assert decays[id(model[0].bias)] == decays[id(model[1].weight)] == 0.0
    model[1].requires_grad_(False)
    groups = make_optimizer(model, training, []).param_groups
    assert sum(len(g["params"]) for g in groups) == 2
