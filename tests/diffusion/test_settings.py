"""Settings of the sampler: what is refused, and what follows from the length of an answer."""

from dataclasses import replace

import pytest

from diffutron.diffusion.sampling.settings import Settings, generation_settings, make_settings


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_steps", 0, "num_steps=0 must be at least 1"),
        ("block_length", 0, "block_length=0 must be at least 1"),
        ("strategy", "best", "strategy='best' must be one of low_confidence, margin"),
        ("temperature", -1.0, "temperature=-1.0 must be at least 0"),
        ("top_k", 0, "top_k=0 must be at least 1"),
        ("top_p", 0.0, r"top_p=0.0 must be in \(0, 1\]"),
        ("threshold", 1.5, r"threshold=1.5 must be in \[0, 1\]"),
        ("remask", 2.0, r"remask=2.0 must be in \[0, 1\]"),
        ("guidance", -0.5, "guidance=-0.5 must be at least 0"),
        ("repetition_penalty", 0.0, "repetition_penalty=0.0 must be above 0"),
        ("no_repeat_ngram", -1, "no_repeat_ngram=-1 must be 0"),
    ],
)
def test_a_bad_setting_names_itself(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_settings({"num_steps": 4, field: value})


def test_settings_for_generation() -> None:
    defaults = {"max_new_tokens": 16, "num_steps": 8, "block_length": 16, "temperature": 0.5}
    assert generation_settings({"temperature": None}, defaults) == (
        16,
        Settings(num_steps=8, block_length=16, temperature=0.5),
    )
    num_new, found = generation_settings({"max_new_tokens": 48}, defaults)
    assert (num_new, found.num_steps, found.block_length) == (48, 48, 24)
    assert generation_settings({}, {}) == (64, Settings(num_steps=64, block_length=32))
    with pytest.raises(ValueError, match="block_length=5 must divide max_new_tokens=16"):
        generation_settings({"block_length": 5}, defaults)
    with pytest.raises(ValueError, match="max_new_tokens=0 must be at least 1"):
        generation_settings({"max_new_tokens": 0}, {})
    with pytest.raises(ValueError, match="penalty is no setting; there are block_length"):
        generation_settings({"penalty": 2}, {})


def test_settings_are_frozen() -> None:
    assert replace(Settings(num_steps=1), top_k=3).top_k == 3
