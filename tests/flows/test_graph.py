"""The order of the stages comes from dvc.yaml, and so does what is out of date."""

from typing import get_args

import pytest

from diffutron.operations.graph import all_needs, direct_needs, stages_in_order

from .conftest import STAGES


def test_a_stage_comes_after_what_it_needs(toy):
    assert stages_in_order() == STAGES
    assert direct_needs() == {
        "register": {"report"},  # reads the folder in which the report lies
        "tokenizer": set(),
        "report": {"corpus"},
        "corpus": {"tokenizer"},
    }
    assert all_needs()["register"] == {"report", "corpus", "tokenizer"}


def test_the_forms_offer_the_stages_of_this_project(repo):
    from flows.pipeline import Profile, Stage

    assert list(get_args(Stage)) == stages_in_order(repo / "dvc.yaml")
    profiles = {path.stem for path in (repo / "infra" / "profiles").glob("*.yaml")}
    assert {*get_args(Profile)} == profiles | {"current"}


def test_stages_that_need_each_other_are_named(tmp_path):
    path = tmp_path / "dvc.yaml"
    path.write_text(
        "stages:\n  a: {cmd: x, deps: [q], outs: [p]}\n  b: {cmd: x, deps: [p], outs: [q]}\n"
    )
    with pytest.raises(ValueError, match="the stages a, b need each other"):
        stages_in_order(path)
