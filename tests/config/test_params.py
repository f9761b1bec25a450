"""params.yaml is strict: every fault is one line that names the key."""

import copy

import pytest

from diffutron.config.params import Params, load_params, params_digest, parse_params
from diffutron.runtime.errors import UserError
from diffutron.runtime.yaml_files import read_yaml


def leaves(values, path=()):
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def section_at(values, path):
    for key in path:
        values = values[key]
    return values


def test_the_committed_file_is_the_demo_profile(repo, demo_values):
    assert read_yaml(repo / "params.yaml") == demo_values
    assert load_params(repo / "params.yaml").profile == "demo"


def test_every_missing_key_is_named(demo_values):
    for path in leaves(demo_values):
        values = copy.deepcopy(demo_values)
        del section_at(values, path[:-1])[path[-1]]
        with pytest.raises(UserError, match=f"missing key `{'.'.join(path)}`"):
            parse_params(values, origin="params.yaml")


def test_an_unknown_key_is_named_with_the_allowed_ones(demo_values):
    values = copy.deepcopy(demo_values)
    values["pretrain"]["lora"]["rnk"] = 3
    with pytest.raises(UserError, match="unknown key `pretrain.lora.rnk`; allowed here: rank, alp"):
        parse_params(values, origin="params.yaml")
    values = copy.deepcopy(demo_values)
    values["corpus"]["hub"][0]["nmae"] = "x"
    with pytest.raises(UserError, match="allowed here: name, revision, commit, config"):
        parse_params(values, origin="params.yaml")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("pretrain.training.learning_rate", -1, "greater than 0"),
        ("pretrain.training.learning_rate", "fast", "valid number"),
        ("pretrain.schedule", "quadratic", "'linear', 'cosine' or 'geometric'"),
        ("evaluate.tasks", ["foo"], "belebele_tr"),
        ("backbone.num_heads", 5, "`backbone`: hidden_size must be a multiple of 8 x num_heads"),
        ("pretrain.training.mask_rates.low", 1.0, "training.mask_rates`: low must be below high"),
        ("pretrain.training.mask_rates.high", 1.5, "less than or equal to 1"),
        ("backbone.training.mask_rates.shape", "flat", "'uniform' or 'bell'"),
        ("register.name", "../x", "pattern"),
        ("seed", -1, "greater than or equal to 0"),
    ],
)
def test_a_value_out_of_range_is_named(demo_values, key, value, message):
    values = copy.deepcopy(demo_values)
    *path, last = key.split(".")
    section_at(values, path)[last] = value
    with pytest.raises(UserError, match=message) as caught:
        parse_params(values, origin="params.yaml")
    assert "\n" not in str(caught.value)
    assert key.split(".")[0] in str(caught.value)


def test_the_geometric_schedule_takes_a_range(demo_values):
    values = copy.deepcopy(demo_values)
    given = {"name": "geometric", "beta_min": 0.001, "beta_max": 10}
    values["pretrain"]["schedule"] = given
    assert parse_params(values, origin="test").pretrain.schedule.beta_max == 10
    for change, message in [
        ({"beta_max": 0.0001}, "`pretrain.schedule`: beta_min must be below beta_max"),
        ({"beta_min": 0}, "`pretrain.schedule.beta_min` = 0: input should be greater than 0"),
        ({"range": 1}, "unknown key `pretrain.schedule.range`; allowed here: name, beta_min"),
        ({"name": "linear"}, "`pretrain.schedule.name` = 'linear'"),
    ]:
        values["pretrain"]["schedule"] = given | change
        with pytest.raises(UserError, match=message):
            parse_params(values, origin="test")


def test_files_that_are_not_parameters(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_params(tmp_path / "none.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [1,\n", encoding="utf-8")
    with pytest.raises(UserError, match="not valid YAML"):
        load_params(bad)
    bad.write_text("- 1\n", encoding="utf-8")
    with pytest.raises(UserError, match="must hold a mapping of profile, seed"):
        load_params(bad)
    bad.write_bytes("seed: ş".encode("iso-8859-9"))
    with pytest.raises(UserError, match="not UTF-8"):
        load_params(bad)


def test_numbers_are_yaml_1_2(tmp_path, repo):
    text = (repo / "params.yaml").read_text(encoding="utf-8")
    changed = tmp_path / "params.yaml"
    changed.write_text(text.replace("learning_rate: 0.004", "learning_rate: 4e-3"), "utf-8")
    assert load_params(changed).pretrain.training.learning_rate == 0.004


def test_parameters_cannot_be_changed_in_place(repo):
    params = load_params(repo / "params.yaml")
    assert isinstance(params, Params)
    with pytest.raises(ValueError, match="frozen"):
        params.seed = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_equal_parameters_have_equal_digests(make_params):
    one = params_digest(make_params())
    assert one == params_digest(make_params())
    assert one != params_digest(make_params({"seed": 14}))


@pytest.mark.parametrize(
    ("precision", "on_gpu", "on_cpu", "with_bf16"),
    [
        ("auto", "bf16", "float32", "float32"),
        ("fastest", "bf16", "float32", "bf16"),
        ("float32", "float32", "float32", "float32"),
        ("bf16", "bf16", "bf16", "bf16"),
    ],
)
def test_precision_by_device(make_params, monkeypatch, precision, on_gpu, on_cpu, with_bf16):
    training = make_params({"backbone.training.precision": precision}).backbone.training
    found = {
        "fpu avx512f avx512_vnni": on_cpu,
        "fpu amx_bf16 amx_tile": with_bf16,
        "fpu avx512_bf16": with_bf16,
    }
    for flags, expected in found.items():
        monkeypatch.setattr("diffutron.runtime.provenance.processor", lambda _, flags=flags: flags)
        assert training.precision_on("cuda") == on_gpu
        assert training.precision_on("cpu") == expected
