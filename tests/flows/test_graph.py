"""The order of the stages comes from dvc.yaml, and so does what is out of date."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from flows.graph import all_needs, direct_needs, out_of_date, stages_in_order

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


def test_only_a_stage_with_a_change_of_its_own_is_out_of_date(toy):
    assert out_of_date() == {*STAGES}
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], check=True)
    assert out_of_date() == set()
    Path("corpus.txt").write_text("other")
    assert out_of_date() == {"corpus"}


def test_what_dvc_says_of_a_broken_file_is_passed_on(toy):
    Path("dvc.yaml").write_text("stages: [")
    with pytest.raises(RuntimeError, match="dvc status: .*dvc.yaml. is invalid"):
        out_of_date()
