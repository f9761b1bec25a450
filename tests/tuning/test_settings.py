"""Settings by size: in bounds for every model and data set, and every key is the user's."""

import itertools

import pytest

from diffutron.runtime.errors import UserError
from diffutron.tuning.settings import TuneParams, held_out_of, settings, sized

MODELS = (600_000, 8_600_000, 131_300_000, 307_000_000, 7_000_000_000)
ROWS = (1, 9, 100, 499, 500, 1_281, 52_000, 2_500_000)


def chosen(method="full", parameters=8_600_000, num_rows=100, longest_row=90, longest_answer=12):
    return sized(
        method=method,
        parameters=parameters,
        max_length=512,
        num_rows=num_rows,
        longest_row=longest_row,
        longest_answer=longest_answer,
    )


@pytest.mark.parametrize(
    ("method", "parameters", "num_rows"), list(itertools.product(("full", "lora"), MODELS, ROWS))
)
def test_every_size_gives_settings_that_hold(method, parameters, num_rows):
    for longest_answer in (1, 7, 8, 31, 32, 33, 255, 400):
        found = settings(
            (), chosen=chosen(method, parameters, num_rows, longest_answer + 80, longest_answer)
        )
        training, generation = found.training, found.generation
        assert found.method == method
        assert 1e-5 <= training.learning_rate <= 2e-3
        assert training.steps * training.batch_size >= num_rows  # each row is read once or more
        assert generation.max_new_tokens % generation.block_length == 0
        assert generation.max_new_tokens >= min(longest_answer, 256)
        assert training.packed_length >= min(512, longest_answer + 80)


def test_larger_models_take_smaller_steps_and_adapters_larger_ones():
    rates = [chosen(parameters=n)["training"]["learning_rate"] for n in MODELS]
    assert rates == sorted(rates, reverse=True)
    for n in MODELS[1:]:
        lora, full = (chosen(method=m, parameters=n)["training"] for m in ("lora", "full"))
        assert lora["learning_rate"] > full["learning_rate"]


def test_the_share_held_out_grows_with_the_rows():
    counts = [held_out_of(n) for n in range(2, 5_000)]
    assert counts == sorted(counts)
    assert counts[0] == 1
    assert counts[-1] == 200
    assert all(count < n for n, count in enumerate(counts, 2))


def leaves(values, before=()):
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*before, key))
        else:
            yield ".".join((*before, key))


def test_every_key_may_be_set_and_keeps_its_value():
    values = settings(()).model_dump(mode="json")
    for key in leaves(values):
        kept = values
        for part in key.split("."):
            kept = kept[part]
        text = str(kept).lower() if isinstance(kept, bool) else "null" if kept is None else kept
        if key == "training.epochs":
            text = 2.5
        if key == "training.steps":
            text = 7
        found = settings([f"{key}={text}"])
        assert isinstance(found, TuneParams)


def test_epochs_take_the_place_of_steps():
    found = settings(["training.epochs=2"], chosen=chosen())
    assert (found.training.epochs, found.training.steps) == (2.0, None)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("foo=1", "unknown key `foo`"),
        ("training.foo=1", "unknown key `training.foo`"),
        ("training.steps=0", "greater than or equal to 1"),
        ("method=half", "'full' or 'lora'"),
        ("steps", "write -S key=value"),
        ("training.epochs=2 training.steps=3", "`training.epochs`"),
    ],
)
def test_a_wrong_setting_is_one_line(override, said):
    with pytest.raises(UserError) as error:
        settings([override])
    assert said in str(error.value)
    assert "\n" not in str(error.value)
