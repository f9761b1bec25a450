"""The gate of a version on a real store: each condition can fail, and is told."""

import copy
import json

import pytest

from diffutron.registry import promotion_gate as gate
from diffutron.registry.evidence import read_evidence
from diffutron.registry.mlflow_client import tracking
from diffutron.registry.promote import promote
from diffutron.registry.promotion_gate import contamination, judge
from diffutron.runtime.errors import UserError


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
    assert better.comparison.n == 7 * 200
    assert better.comparison.mean_difference == pytest.approx(0.1)
    assert 0 < better.comparison.low < 0.1
    told = json.loads(json.dumps(better.as_json()))
    assert told["champion"] == 1
    assert told["comparison"]["tasks"]["mnli_tr"]["only_version"] == 20
    assert judge(1, serve=False).champion is None  # not against itself
    promote(2, by="kurul", reason="better")
    worse = judge(1, serve=False, max_drop=0.05)
    names = failing(worse)
    assert names[0].startswith("mean accuracy, difference -0.1000")
    assert [name for name in names if name.startswith("xcopa_tr")]
    assert worse.as_evidence()["holds"] is False
    assert worse.as_evidence()["mean_difference"] == pytest.approx(-0.1)


@pytest.mark.slow
@pytest.mark.usefixtures("versions")
def test_it_answers_as_the_server_loads_it():
    found = judge(1)
    assert found.holds, found.failed
    assert found.conditions[-1].name == "served by MLflow"
    with tracking():
        broken = gate._serving("diffutron", 77)
    assert not broken.holds


@pytest.fixture
def evidence(versions):
    with tracking() as client:
        return read_evidence(client, "diffutron", 1)


def own(evidence, *, use="research") -> list[str]:
    return [c.name for c in gate._own(evidence, use=use) if not c.holds]


def changed(evidence, **values):
    from dataclasses import replace

    return replace(evidence, **values)


def test_each_condition_of_its_own_can_fail(evidence):
    assert own(evidence) == []
    assert own(evidence, use="commercial") == []
    parts = {"corpus": "CC-BY-NC-SA-4.0", "backbone": "not stated"}
    assert own(changed(evidence, licenses=parts)) == []
    assert own(changed(evidence, licenses=parts), use="commercial") == [
        "licenses of the data, for commercial use"
    ]
    assert own(changed(evidence, licenses={})) == ["licenses of the data, for research use"]
    assert own(changed(evidence, card=evidence.card + "\n99.9 % right\n")) == ["model card"]
    assert own(changed(evidence, card="empty")) == ["model card"]
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
    measured["evaluate"]["models"] = {
        "phase2": {"sanity_checks": {"oracle": good, "shuffled": None}}
    }
    assert own(changed(evidence, measured=measured)) == []
    measured["evaluate"]["models"]["phase2"]["sanity_checks"]["batch"] = bad
    assert own(changed(evidence, measured=measured)) == ["sanity checks of the evaluation"]


def test_items_of_other_rows_are_not_compared(evidence):
    measured = copy.deepcopy(evidence.measured)
    measured["evaluate"]["sets"]["sts_tr"]["digest"] = "other rows"
    compared, held = gate._against(evidence, changed(evidence, measured=measured), max_drop=1)
    assert "sts_tr" not in compared.tasks
    assert not held[0].holds
    assert held[0].found == 6 * 200
    compared, held = gate._against(evidence, changed(evidence, answers={}), max_drop=1)
    assert compared is None
    assert [one.holds for one in held] == [False]


@pytest.mark.usefixtures("versions")
def test_what_register_did_not_make_has_no_evidence():
    with pytest.raises(UserError, match="no version 5; there are: 1, 2"):
        judge(5)
    with tracking() as client:
        client.create_model_version("diffutron", source="file:///nowhere")
    with pytest.raises(UserError, match="version 3 has no tag run_id: it was not made by"):
        judge(3)
