"""Comparing two runs, two models, and an evaluation with a leaderboard."""

import json

import pytest

from diffutron.evaluation.leaderboard.compare import (
    compare_runs,
    is_run,
    read_run,
    score_models,
    system_name,
)
from diffutron.runtime.errors import UserError

pytestmark = pytest.mark.slow


def write(path, rights, **more):
    rows = [
        {"row": n, "correct": bool(right), "choices": ["a", "b"], **more}
        for n, right in enumerate(rights)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")


def test_two_models_of_an_evaluation(tmp_path):
    write(tmp_path / "items_phase1_ironytr.jsonl", [0] * 40)
    write(tmp_path / "items_phase2_ironytr.jsonl", [1] * 20 + [0] * 20)
    write(tmp_path / "items_phase2_standin_mrc4_from_xquad_tr.jsonl", [1])
    assert is_run(str(tmp_path))
    one, two = read_run(f"{tmp_path}:phase1"), read_run(f"{tmp_path}:phase2")
    assert set(two.correct) == {"ironytr", "standin_mrc4_from_xquad_tr"}
    (entry,) = compare_runs(two, one, protocol="corrected")
    assert (entry["task"], entry["n"], entry["verdict"]) == ("ironytr", 40, "better")


def test_a_system_of_a_leaderboard_by_protocol(tmp_path):
    write(tmp_path / "items" / "a.b.corrected.ironytr.jsonl", [1, 0], group="passage x")
    write(tmp_path / "items" / "a.b.cetvel.ironytr.jsonl", [0, 0])
    found = read_run(str(tmp_path), protocol="corrected")
    assert found.correct == {"ironytr": {0: True, 1: False}}
    assert set(found.groups["ironytr"].values()) == {"passage x"}


def test_what_cannot_be_compared_is_one_line(tmp_path):
    with pytest.raises(UserError, match="holds no answers"):
        read_run(str(tmp_path))
    write(tmp_path / "items_base_ironytr.jsonl", [1])
    write(tmp_path / "items_merged_exams_tr.jsonl", [1])
    with pytest.raises(UserError, match="there are base, merged"):
        read_run(str(tmp_path))
    with pytest.raises(UserError, match="there are base, merged"):
        read_run(f"{tmp_path}:phase2")
    with pytest.raises(UserError, match="no item in common"):
        compare_runs(
            read_run(f"{tmp_path}:base"), read_run(f"{tmp_path}:merged"), protocol="corrected"
        )
    (tmp_path / "items_base_ironytr.jsonl").write_text('{"row": 1}\n')
    with pytest.raises(UserError, match="line 1: field `correct` is missing"):
        read_run(f"{tmp_path}:base")
    (tmp_path / "items_base_ironytr.jsonl").write_text("{\n")
    with pytest.raises(UserError, match="line 1: not JSON"):
        read_run(f"{tmp_path}:base")


def test_models_are_scored_under_names_of_their_own(tmp_path, model_dirs, rows_dir, repo):
    folders = {str(model_dirs[name]): model_dirs[name] for name in ("base", "phase2")}
    score_models(
        folders,
        systems=repo / "infra" / "systems.yaml",
        tasks=["xcopa_tr"],
        data=str(rows_dir),
        protocol="corrected",
        limit=4,
        out=tmp_path,
    )
    a, b = (read_run(f"{tmp_path}:{system_name(place)}") for place in folders)
    (entry,) = compare_runs(a, b, protocol="corrected")
    assert entry["n"] == 4
    assert system_name("models:/diffutron@champion") == "models-diffutron-champion"


@pytest.mark.parametrize(
    ("config", "architecture"),
    [
        ({"is_encoder_decoder": True}, "encoder_decoder"),
        ({"architectures": ["GPTJForCausalLM"]}, "causal"),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "pseudo_likelihood"),
        ({"model_type": "modernbert", "architectures": ["XForMaskedLM"]}, "masked_diffusion"),
    ],
)  # fmt: skip
def test_the_kind_of_a_model_is_read_from_its_configuration(tmp_path, config, architecture):
    from diffutron.evaluation.leaderboard.compare import _architecture

    (tmp_path / "config.json").write_text(json.dumps(config))
    assert _architecture(tmp_path) == architecture
