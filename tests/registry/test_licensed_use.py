"""One rule of licenses: the corpus stage, the promotion gate and the model card agree."""

import json
from dataclasses import asdict

import pytest

from diffutron.data.sources.licenses import against, check_licenses, model_licenses
from diffutron.data.sources.sources import licenses_of, local_digest
from diffutron.registry.evidence import Evidence
from diffutron.registry.model_card import model_card
from diffutron.registry.promotion_gate import _own
from diffutron.runtime.errors import UserError

from .test_model_card import MEASURED, TAGS

NC, FREE = "CC BY-NC-SA 4.0", "CC BY 4.0"
TABLE = [
    # source, stated license, flag, accepted licenses -> may be used commercially
    ("sample", None, None, [], True),
    ("hub", None, None, [], False),
    ("hub", None, None, ["not stated"], True),
    ("hub", FREE, None, [], True),
    ("hub", NC, None, [], False),
    ("hub", NC, None, [NC], True),
    ("hub", NC, None, [FREE], False),
    ("local", None, None, [], False),
    ("local", None, True, [], True),
    ("local", FREE, None, [], True),
    ("local", FREE, False, [], False),
    ("local", NC, None, [], False),
    ("local", NC, True, [], True),
    ("local", "our contract", True, [], True),
    ("local", "our contract", False, ["our contract"], True),
]


@pytest.fixture
def case(make_params, tmp_path, monkeypatch):
    """Parameters of a corpus of such a source, and the licenses that its stage records."""

    def make(source, license, flag, accepted, use):
        changes = {"corpus.source": source, "corpus.use": use, "corpus.allowed_licenses": accepted}
        entry = make_params().corpus.hub[0].model_dump()
        changes["corpus.hub"] = [entry | {"license": license}]
        if source == "local":
            folder = tmp_path / "corpus"
            folder.mkdir()
            (folder / "haber.jsonl").write_text('{"text": "Bir."}', encoding="utf-8")
            said = {"files": "haber.jsonl", "license": license, "commercial": flag}
            listing = {"sources": [{key: one for key, one in said.items() if one is not None}]}
            (folder / "sources.yaml").write_text(json.dumps(listing), encoding="utf-8")
            monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
            changes["corpus.digest"] = local_digest("corpus")
        return make_params(changes)

    return make


def stage_takes_it(params, licenses) -> bool:
    rules = params.corpus
    try:
        check_licenses(licenses, use=rules.use, allowed=rules.allowed_licenses)
    except UserError:
        return False
    return True


@pytest.mark.parametrize("use", ["research", "commercial"])
@pytest.mark.parametrize(("source", "license", "flag", "accepted", "commercial"), TABLE)
def test_stage_gate_and_card_agree(case, summary, source, license, flag, accepted, commercial, use):
    params = case(source, license, flag, accepted, use)
    licenses = licenses_of(params.corpus)
    recorded = {"licenses": [asdict(one) for one in licenses]}
    measured = {"corpus": {**MEASURED["corpus"], **recorded}}
    allowed = commercial or use == "research"
    assert stage_takes_it(params, licenses) is allowed
    found = Evidence("diffutron", 1, params, summary, measured, answers=None)  # type: ignore[arg-type]
    (condition,) = [
        one
        for one in _own(found, limits=params.promote, use=use)
        if one.name == f"licenses of the data, for {use} use"
    ]
    assert condition.holds is allowed
    card = model_card(params, summary, measured, tags=TAGS)
    assert ("The licenses allow commercial use" in card) is commercial
    assert ("The licenses do not allow commercial use: corpus: " in card) is not commercial


def test_local_instructions_are_judged_by_their_listing(make_params, tmp_path, monkeypatch):
    (tmp_path / "instruct").mkdir()
    (tmp_path / "instruct/soru.jsonl").write_text("{}", encoding="utf-8")
    listing = {"sources": [{"files": "soru.jsonl", "license": "our contract", "commercial": True}]}
    (tmp_path / "instruct/sources.yaml").write_text(json.dumps(listing), encoding="utf-8")
    monkeypatch.setenv("DIFFUTRON_DATA", str(tmp_path))
    params = make_params({"instructions.source": "local"})
    recorded = [asdict(one) for one in licenses_of(params.instructions)]
    parts = model_licenses(params, {"instructions": {"licenses": recorded}})
    assert against(parts, use="commercial", allowed=[]) == []
    assert against(model_licenses(params, {}), use="commercial", allowed=[]) == [
        "instructions: not stated (local folder)"
    ]
