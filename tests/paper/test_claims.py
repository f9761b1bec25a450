"""The claims file agrees with what can be found now, and a contradiction is found."""

import json

import pytest

from diffutron.paper import claim_checks
from diffutron.paper.claims import check_claims, claim_lines, read_claims
from diffutron.paper.published import ACCURACY, PERPLEXITY, SYSTEMS, TRAINABLE_SHARE
from diffutron.runtime.errors import UserError


@pytest.fixture(scope="module")
def claims(repo):
    return read_claims(repo / "docs" / "claims.yaml")


def test_no_claim_is_contradicted_and_the_arithmetic_ones_are_checked(claims):
    found = check_claims(claims)
    assert not [one for one in found if one.fault]
    assert sum(one.value is not None for one in found) >= 9
    checked = {one.claim.check.arithmetic for one in found if one.claim.check}
    assert checked == set(claim_checks.CHECKS)


def test_every_published_score_is_a_claim(claims):
    stated = sorted(c.value for c in claims if c.id.startswith("table-"))
    assert stated == sorted(score for scores in ACCURACY.values() for score in scores)
    assert len(stated) == 7 * len(SYSTEMS)
    assert {c.value for c in claims} >= {*PERPLEXITY.values(), round(100 * TRAINABLE_SHARE, 2)}


def test_counts_agree_with_the_real_shape(repo):
    """The closed form against a model of that shape, counted on the meta device."""
    from diffutron.config.params import parse_params
    from diffutron.operations.profiles import compose
    from diffutron.planning.model_cost import shape_of

    values = compose("paper", folder=repo / "infra" / "profiles")
    shape = shape_of(parse_params(values, origin="paper"))
    assert shape.parameters == claim_checks.BACKBONE
    assert shape.adapter_parameters == claim_checks.ADAPTER


ONE = """
claims:
  - id: x
    says: it is so
    value: {value}
    unit: points
    status: {status}
    command: diffutron claims
    evidence: this file
    why: because
    check: {{file: board.json, key: "{key}", scale: 100, tolerance: 0.5}}
"""


@pytest.mark.parametrize(
    ("value", "status", "fault"),
    [
        (32.4, "reproduced", None),
        (40.0, "reproduced", "says reproduced, but 32 was found where 40 is claimed"),
        (40.0, "not reproduced", None),
        (32.0, "not reproduced", "says not reproduced, but 32 was found"),
        (40.0, "cannot be told", None),
    ],
)
def test_a_status_is_held_against_the_result_file(tmp_path, value, status, fault):
    rows = [{"system": "a", "task": "t", "acc": 0.1}, {"system": "b", "task": "t", "acc": 0.32}]
    (tmp_path / "board.json").write_text(json.dumps({"rows": rows}))
    text = ONE.format(value=value, status=status, key="rows[system=b,task=t].acc")
    (tmp_path / "claims.yaml").write_text(text)
    (found,) = check_claims(read_claims(tmp_path / "claims.yaml"), root=tmp_path)
    assert found.value == pytest.approx(32.0)
    assert (found.fault or "").startswith(fault or "")
    assert (found.fault is None) == (fault is None)
    assert ("FAULT" in claim_lines([found])[0]) == (fault is not None)


def test_a_status_cannot_rest_on_a_file_that_is_absent(tmp_path):
    (tmp_path / "claims.yaml").write_text(ONE.format(value=1, status="reproduced", key="a.b"))
    (found,) = check_claims(read_claims(tmp_path / "claims.yaml"), root=tmp_path)
    assert found.fault == "rests on board.json, which is not there"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("nothing", "there is no `nothing`"),
        ("rows[system=c].acc", "0 objects of `rows` have system=c"),
        ("rows[task=t].acc", "2 objects"),
        ("rows[system=a].task", "is no number"),
    ],
)
def test_a_key_that_leads_nowhere_is_one_line(tmp_path, key, message):
    rows = [{"system": "a", "task": "t"}, {"system": "b", "task": "t"}]
    (tmp_path / "board.json").write_text(json.dumps({"rows": rows}))
    (tmp_path / "claims.yaml").write_text(ONE.format(value=1, status="reproduced", key=key))
    with pytest.raises(UserError, match=message):
        check_claims(read_claims(tmp_path / "claims.yaml"), root=tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("status: reproduced", "status: certain", "`claims.0.status`"),
        ("    why: because\n", "    whyy: because\n", "unknown key `claims.0.whyy`"),
        ("    says: it is so\n", "", "missing key `claims.0.says`"),
        ("    evidence: this file\n", "", "needs a check and its evidence"),
        ("file: board.json, ", "arithmetic: luck, ", "unknown arithmetic 'luck'"),
        ("file: board.json, ", "", "names `arithmetic`, or `file` and `key`"),
    ],
)
def test_a_faulty_file_is_one_line(tmp_path, old, new, message):
    text = ONE.format(value=1, status="reproduced", key="a")
    assert old in text
    (tmp_path / "claims.yaml").write_text(text.replace(old, new))
    with pytest.raises(UserError, match=message):
        read_claims(tmp_path / "claims.yaml")


def test_an_open_status_needs_a_reason_and_ids_are_unique(tmp_path):
    text = ONE.format(value=1, status="not attempted", key="a")
    (tmp_path / "claims.yaml").write_text(text.replace("    why: because\n", ""))
    with pytest.raises(UserError, match="needs `why`"):
        read_claims(tmp_path / "claims.yaml")
    (tmp_path / "claims.yaml").write_text(text + text.replace("\nclaims:\n", ""))
    with pytest.raises(UserError, match="stand twice"):
        read_claims(tmp_path / "claims.yaml")
    with pytest.raises(UserError, match="does not exist"):
        read_claims(tmp_path / "none.yaml")
