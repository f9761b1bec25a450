"""The gate of a version on a real store: each condition can fail, and is told."""

import copy
import json

import pytest

from diffutron.evaluation.statistics.pair_tests import Results
from diffutron.registry import promotion_gate as gate
from diffutron.registry.evidence import read_evidence
from diffutron.registry.mlflow_client import tracking
from diffutron.registry.promote import promote
from diffutron.registry.promotion_gate import contamination, judge
from diffutron.runtime.errors import UserError

pytestmark = pytest.mark.slow


def failing(found) -> list[str]:
    return [condition.name for condition in found.conditions if not condition.holds]


@pytest.mark.usefixtures("versions")
def test_without_a_champion_nothing_is_compared():
    found = judge(2, serve=False)
    assert found.holds, found.failed
    assert (found.champion, found.comparison) == (None, None)
    assert [c.name for c in found.conditions][0] == "tasks with p < 0.001"


@pytest.mark.usefixtures("versions")
def test_against_the_champion_on_the_same_items():
    promote(1, by="kurul", reason="first")
    better = judge(2, serve=False)
    assert better.holds, better.failed
    assert better.comparison
    assert better.comparison["n"] == 7 * 200
    assert better.comparison["mean_difference"] == pytest.approx(0.1)
    assert 0 < better.comparison["low"] < 0.1
    told = json.loads(json.dumps(better.as_json()))
    assert (told["champion"], told["holds"]) == (1, True)
    one = told["comparison"]["tasks"]["mnli_tr"]
    assert (one["acc"], one["champion_acc"]) == pytest.approx((0.8, 0.7))
    assert judge(1, serve=False).champion is None  # not against itself
    promote(2, by="kurul", reason="better")
    worse = judge(1, serve=False, max_drop=0.05)
    names = failing(worse)
    assert names[0] == "mean accuracy, difference"
    assert "xcopa_tr, difference" in names
    assert worse.as_evidence()["holds"] is False
    assert worse.as_evidence()["mean_difference"] == pytest.approx(-0.1)


@pytest.mark.slow
@pytest.mark.usefixtures("versions")
def test_it_answers_as_the_server_loads_it():
    found = judge(1)
    assert found.holds, found.failed
    assert found.conditions[-1].name == "served by MLflow"


@pytest.mark.usefixtures("versions")
def test_a_version_that_does_not_answer_fails(monkeypatch):
    def broken(uri):
        raise UserError(f"{uri} does not run on the code it carries: No module named 'x'")

    monkeypatch.setattr("diffutron.registry.promotion_gate.smoke_test", broken)
    (fault,) = judge(1).failed
    assert "served by MLflow: models:/diffutron/1 does not run on the code it carries" in fault


@pytest.fixture
def evidence(versions):
    with tracking() as client:
        return read_evidence(client, "diffutron", 1)


def own(evidence, *, use="research") -> list[str]:
    found = gate._own(evidence, limits=evidence.params.promote, use=use)
    return [c.name for c in found if not c.holds]


def changed(evidence, **values):
    from dataclasses import replace

    return replace(evidence, **values)


def test_each_condition_of_its_own_can_fail(evidence):
    assert own(evidence) == []
    assert own(evidence, use="commercial") == []
    measured = copy.deepcopy(evidence.measured)
    measured["instructions"]["licenses"] = [
        {"source": "x", "license": "CC-BY-NC-SA-4.0", "commercial": False}
    ]
    assert own(changed(evidence, measured=measured)) == []
    assert own(changed(evidence, measured=measured), use="commercial") == [
        "licenses of the data, for commercial use"
    ]
    tainted = copy.deepcopy(evidence.measured)
    tainted["instructions"]["phase2"]["dropped"]["contaminated"] = 5
    assert contamination(tainted) == 0.1
    (name,) = own(changed(evidence, measured=tainted))
    assert name.startswith("documents with evaluation text")
    del tainted["corpus"]
    assert contamination(tainted) is None


@pytest.mark.parametrize("good", [True, {"passed": True}])
@pytest.mark.parametrize("bad", [False, {"passed": False, "why": "first token lost"}])
def test_sanity_checks_count_where_a_result_file_has_them(evidence, good, bad):
    measured = copy.deepcopy(evidence.measured)
    checks = {"oracle": good, "shuffled": None, "batch": {"passed": None, "detail": "one item"}}
    measured["evaluate"]["models"] = {"phase2": {"sanity_checks": checks}}
    found = changed(evidence, measured=measured)
    limits = found.params.promote
    assert own(found) == []
    assert [*gate._own(found, limits=limits, use="research")][0].found == "1 passed"
    checks["batch"] = bad
    assert own(found) == ["sanity checks of the evaluation"]
    (fault,) = [one for one in gate._own(found, limits=limits, use="research") if not one.holds]
    assert fault.found == "failed: evaluate/models/phase2/batch"


@pytest.mark.usefixtures("versions")
def test_the_bounds_are_those_given_else_those_of_the_version(make_params):
    promote(2, by="kurul", reason="first")
    drop = next(one for one in judge(1, serve=False).conditions if "sts_tr" in one.name)
    assert "at most 0.1 below" in drop.wanted
    limits = make_params({"promote.max_drop": 0.3, "promote.alpha": 1e-9}).promote
    found = {one.name: one for one in judge(1, serve=False, limits=limits).conditions}
    assert found["sts_tr, difference"].holds
    assert "at most 0.3 below" in found["sts_tr, difference"].wanted
    found = {one.name: one for one in judge(1, serve=False, limits=limits, max_drop=0.0).conditions}
    assert not found["sts_tr, difference"].holds


@pytest.mark.usefixtures("versions")
def test_the_gate_and_the_comparison_of_runs_say_the_same(tmp_path):
    """On the answers of both versions, `diffutron compare` and the gate give equal numbers."""
    from diffutron.evaluation.leaderboard.compare import compare_runs

    promote(1, by="kurul", reason="first")
    with tracking() as client:
        new, old = (read_evidence(client, "diffutron", version) for version in (2, 1))
    *tasks, mean = compare_runs(new.answers, old.answers, protocol="evaluate")
    found = judge(2, serve=False)
    assert found.comparison
    assert (found.comparison["mean_difference"], found.comparison["low"]) == (
        mean["difference"],
        mean["low"],
    )
    for one in tasks:
        told = found.comparison["tasks"][one["task"]]
        assert {key: told[key] for key in one} == one


def test_items_of_other_rows_are_not_compared(evidence):
    measured = copy.deepcopy(evidence.measured)
    measured["evaluate"]["sets"]["sts_tr"]["digest"] = "other rows"
    limits = evidence.params.promote
    compared, held = gate._against(evidence, changed(evidence, measured=measured), limits=limits)
    assert compared
    assert "sts_tr" not in compared["tasks"]
    assert not held[0].holds
    assert held[0].found == 6 * 200
    nothing = changed(evidence, answers=Results("version 1", {}, {}))
    compared, held = gate._against(evidence, nothing, limits=limits)
    assert compared is None
    assert [one.holds for one in held] == [False]


def test_a_task_that_is_added_stops_no_promotion(evidence):
    """The champion was never asked it; one of the seven still has to be answered by both."""
    measured, limits = copy.deepcopy(evidence.measured), evidence.params.promote
    measured["evaluate"]["sets"]["soru_bankasi"] = {"digest": "d", "own": True}
    answers = evidence.answers
    rows = {row: True for row in range(10)}
    groups = {row: f"row {row}" for row in rows}
    new = Results(
        answers.system,
        {**answers.correct, "soru_bankasi": rows},
        {**answers.groups, "soru_bankasi": groups},
    )
    found = changed(evidence, measured=measured, answers=new)
    compared, held = gate._against(found, evidence, limits=limits)
    assert compared
    assert "soru_bankasi" not in compared["tasks"]
    assert held[0].holds
    assert held[0].name.endswith("has answered too, without those of soru_bankasi")
    both, held = gate._against(found, found, limits=limits)
    assert both
    assert both["tasks"]["soru_bankasi"]["n"] == 10
    assert (held[0].wanted, held[0].found) == ("all 1410", 1410.0)
    del measured["evaluate"]["sets"]["soru_bankasi"]["own"]
    _, held = gate._against(found, evidence, limits=limits)
    assert not held[0].holds


@pytest.mark.usefixtures("versions")
def test_what_register_did_not_make_has_no_evidence():
    with pytest.raises(UserError, match="no version 5; there are: 1, 2"):
        judge(5)
    with tracking() as client:
        client.create_model_version("diffutron", source="file:///nowhere")
    with pytest.raises(UserError, match="version 3 has no tag run_id: it was not made by"):
        judge(3)
