"""dvc.yaml, params.yaml, the command line and the code agree."""

import re

import pytest
from typer.main import get_command

from diffutron.config.params import Params
from diffutron.runtime.yaml_files import read_yaml

STAGES = [
    "tokenizer",
    "corpus",
    "backbone",
    "pretrain",
    "merge",
    "instructions",
    "instruct_phase1",
    "instruct_phase2",
    "evaluate",
    "report",
    "register",
]


@pytest.fixture(scope="module")
def stages(repo):
    return read_yaml(repo / "dvc.yaml")["stages"]


@pytest.fixture(scope="module")
def commands():
    from diffutron.cli.app import app

    return get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]


def paths(entries):
    return [next(iter(e)) if isinstance(e, dict) else e for e in entries]


def test_the_stages_are_those_of_the_design(stages):
    assert list(stages) == STAGES


def test_a_stage_is_a_command_and_its_options_exist(stages, commands):
    for name, stage in stages.items():
        words = stage["cmd"].split()
        assert words[:4] == ["python", "-m", "diffutron", name]
        known = {opt for param in commands[name].params for opt in param.opts}
        assert set(re.findall(r"--[a-z0-9-]+", stage["cmd"])) <= known, name


def test_paths_in_a_command_are_declared(stages):
    for name, stage in stages.items():
        declared = set(paths(stage["deps"] + stage["outs"] + stage.get("metrics", [])))
        used = {w for w in stage["cmd"].split() if "/" in w or w == "report"}
        assert used <= declared, name


def test_code_dependencies_exist(stages, repo):
    for stage in stages.values():
        for path in paths(stage["deps"]):
            if path.startswith("diffutron"):
                assert (repo / path).exists(), path


def test_every_section_is_some_stage_parameter(stages, demo_values):
    sections = {p.split(".")[0] for stage in stages.values() for p in stage["params"]}
    assert sections == set(demo_values) - {"promote"}  # a decision, no stage
    fields = {f.alias or name for name, f in Params.model_fields.items()}
    assert fields == set(demo_values)


def test_every_output_survives_a_failed_run(stages):
    for name, stage in stages.items():
        for entry in stage["outs"] + stage.get("metrics", []) + stage.get("plots", []):
            ((path, options),) = entry.items()
            assert options["persist"], f"{name}: {path}"


def test_metrics_stay_out_of_the_cache(stages):
    for stage in stages.values():
        for entry in stage["outs"] + stage.get("metrics", []) + stage.get("plots", []):
            ((path, options),) = entry.items()
            assert options.get("cache", True) is not path.startswith(("metrics/", "registry/"))


def test_dvc_shows_the_headline_figures_alone(stages):
    """So that `dvc metrics diff` and `dvc exp show` fit a screen."""
    assert [one for stage in stages.values() for one in paths(stage.get("metrics", []))] == [
        "metrics/summary.json"
    ]
