"""The card: front matter that parses, numbers from the summary, stand-ins under their own name."""

import yaml

from diffutron.registry.model_card import description, model_card

TAGS = {"git_sha": "abc123", "git_dirty": "false", "profile": "demo"}


def head(card: str) -> dict:
    return yaml.safe_load(card.split("---")[1])


def test_front_matter_gives_results_their_own_names(make_params, summary):
    values = head(model_card(make_params(), summary, tags=TAGS))
    assert values["language"] == "tr"
    (index,) = values["model-index"]
    results = {r["dataset"]["name"]: r["metrics"][0]["value"] for r in index["results"]}
    assert results["mnli_tr (sample stand-in)"] == 0.7
    assert len(results) == 7


def test_hub_results_carry_the_published_set(make_params, summary):
    params = make_params({"evaluation.source": "hub"})
    (index,) = head(model_card(params, summary, tags=TAGS))["model-index"]
    types = {r["dataset"]["name"]: r["dataset"]["type"] for r in index["results"]}
    assert types["xcopa_tr"] == "xcopa"


def test_numbers_and_limits_stand_in_the_card(make_params, summary):
    card = model_card(make_params(), summary, tags=TAGS)
    for text in ("75.0 % of 300", "| mnli_tr | 200 | 70.0 % | 65.0 % to 75.0 %", "< 0.001"):
        assert text in card
    assert "do not compare with published ones" in card
    assert "`abc123`" in card


def test_a_number_that_was_not_measured_says_so(make_params, summary):
    final = summary["models"]["phase2"]
    final["tasks"]["sts_tr"] = dict.fromkeys(final["tasks"]["sts_tr"])
    final["instructions"] = {"n": None, "correct": None, "acc": None}
    summary["device"] = None
    card = model_card(make_params(), summary, tags=TAGS | {"git_dirty": "true"})
    assert "| sts_tr |  | not measured |" in card
    assert "answered exactly: not measured." in card
    assert "with changes that are not committed" in card
    assert "sts_tr" not in str(head(card))
    assert "not measured" in description(make_params(), summary)
