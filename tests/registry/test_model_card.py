"""The card: front matter that parses, numbers from the summary, stand-ins under their own name."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from diffutron.registry.model_card import description, model_card

from .conftest import BASELINES

MEASURED = {
    "corpus": {
        "documents": {"read": 6840, "train": 6435, "heldout": 400},
        "tokens": {"train": 237978, "heldout": 14617},
        "dropped": {"duplicate": 2, "contaminated": 3},
        "findable": {"ironytr": {"items": 480, "document": 477, "instruction": 476}},
        "false_alarms": {"texts": 6835, "found": 1},
    },
    "backbone": {
        "objective": "masked language model, rate 0.3",
        "steps": 3600,
        "tokens": 4241961,
        "eval_loss": 1.198,
    },
}
PARTS = ("Use", "Data", "Recipe", "Results", "Limits", "Cost", "Made with")
FRONT_MATTER = ("language", "license", "library_name", "tags", "model-index")
WORDING = {
    "95",
    "0.001",
}  # the level of the intervals, and the bound below which p is not spelt out
_QUOTED = re.compile(r"```.*?```|`[^`]*`|\bhttps?://\S+", re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.-])\d+(?:[ ]\d{3})*(?:\.\d+)?(?:e-?\d+)?(?![\w])")
TAGS = {"git_sha": "abc123", "git_dirty": "false", "profile": "demo"}


def missing_parts(card: str) -> list[str]:
    """What a card lacks: keys of the front matter, headings, or something to read below them."""
    _, head, body = card.split("---\n", 2) if card.startswith("---\n") else ("", "", card)
    values = yaml.safe_load(head) or {}
    lacking = [f"front matter: {key}" for key in FRONT_MATTER if not values.get(key)]
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", body, re.DOTALL | re.MULTILINE))
    return lacking + [part for part in PARTS if not sections.get(part, "").strip()]


def untraced_numbers(card: str, tracked: Any) -> list[str]:
    """The numbers of a card that no value of `tracked` (nested, plain) is written as.

    Code, addresses and fingerprints are quoted in the card and do not count.
    """
    written = {text for value in _numbers(tracked) for text in _renderings(value)} | WORDING
    found = _NUMBER.findall(_QUOTED.sub(" ", card))
    return [number for number in dict.fromkeys(found) if number not in written]


def _numbers(values: Any) -> Iterator[int | float]:
    if isinstance(values, dict):
        for value in values.values():
            yield from _numbers(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _numbers(value)
    elif isinstance(values, int | float) and not isinstance(values, bool):
        yield values


def _renderings(value: int | float) -> set[str]:
    """Every form in which the card may write a number."""
    forms = {str(value), f"{value:.3f}", f"{value:.1f}", f"{100 * value:.1f}"}
    return forms | ({f"{value:,}".replace(",", " ")} if isinstance(value, int) else set())


def head(card: str) -> dict:
    return yaml.safe_load(card.split("---")[1])


def test_front_matter_gives_results_their_own_names(make_params, summary):
    values = head(model_card(make_params(), summary, MEASURED, tags=TAGS))
    assert values["language"] == "tr"
    (index,) = values["model-index"]
    results = {r["dataset"]["name"]: r["metrics"][0]["value"] for r in index["results"]}
    assert results["mnli_tr (sample stand-in)"] == 0.7
    assert len(results) == 7


def test_hub_results_carry_the_published_set(make_params, summary):
    params = make_params({"evaluate.source": "hub"})
    (index,) = head(model_card(params, summary, MEASURED, tags=TAGS))["model-index"]
    types = {r["dataset"]["name"]: r["dataset"]["type"] for r in index["results"]}
    assert types["xcopa_tr"] == "xcopa"


def test_a_task_of_the_builder_is_no_stand_in(make_params, summary):
    tasks = summary["models"]["phase2"]["tasks"]
    tasks["soru_bankasi"] = dict(tasks["sts_tr"])
    measured = {"evaluate": {"sets": {"soru_bankasi": {"own": True}, "sts_tr": {"own": False}}}}
    for source in ("sample", "hub"):
        card = model_card(make_params({"evaluate.source": source}), summary, measured, tags=TAGS)
        (index,) = head(card)["model-index"]
        (found,) = [r for r in index["results"] if r["dataset"]["name"] == "soru_bankasi"]
        assert found["dataset"]["type"] == "other"
        assert "| soru_bankasi | 200 | 70.0 % |" in card
        assert "builder's own, which the training texts were not cleaned of: soru_bankasi." in card
    assert "builder's own" not in model_card(make_params(), summary, MEASURED, tags=TAGS)


def test_numbers_and_limits_stand_in_the_card(make_params, summary):
    card = model_card(make_params(), summary, MEASURED, tags=TAGS)
    for text in ("75.0 % of 300", "| mnli_tr | 200 | 70.0 % | 65.0 % to 75.0 %", "< 0.001"):
        assert text in card
    assert "do not compare with published ones" in card
    assert "`abc123`" in card


def test_baselines_stand_beside_the_bits_per_byte(make_params, summary):
    models = {name: {"perplexity_text": {"bits_per_byte": 1.2}} for name in ("base", "phase2")}
    evaluated = {**BASELINES, "models": models, "perplexity_text": {"bigram": 1.6}}
    card = model_card(make_params(), summary, {"evaluate": evaluated}, tags=TAGS)
    assert "| held-out documents | 1.700 | 0.900 | 0.670 | 0.600 | 0.550 | 0.650 |" in card
    missing = "not measured"
    row = f"| perplexity text | {missing} | 1.600 | {missing} | 1.200 | {missing} | 1.200 |"
    assert row in card


def test_baselines_stand_beside_the_exact_answers(make_params, summary):
    instructions = {"constant": 0.04, "majority_per_source": 0.13}
    evaluated = {"models": {"phase2": {"instructions": instructions}}}
    card = model_card(make_params(), summary, {"evaluate": evaluated}, tags=TAGS)
    assert "these rows: 4.0 %, the majority per source: 13.0 %, a bag of words: not meas" in card


def test_the_calibration_stands_in_the_card(make_params, summary):
    error = {"nll": 0.7, "ece": 0.041, "low": 0.03, "high": 0.09}
    choice = {"temperature": 1.52, "rows": 129, "acc": 0.59, "chance": 0.24, "floor": 0.052}
    choice |= {"before": error | {"ece": 0.123}, "after": error}
    evaluated = {"models": {"phase2": {"calibration": {"choice": choice}}}}
    card = model_card(make_params(), summary, {"evaluate": evaluated}, tags=TAGS)
    assert "Decisions (`choice`, 129 held-out questions, 59.0 % right)" in card
    assert "error 0.123 (0.030 to 0.090), with the temperature 1.520" in card
    assert "`calibration.json` 0.041 (0.030 to 0.090) on" in card
    assert "Decisions" not in model_card(make_params(), summary, MEASURED, tags=TAGS)
    assert untraced_numbers(card, [*tracked(make_params(), summary), choice]) == []


def test_a_number_that_was_not_measured_says_so(make_params, summary):
    final = summary["models"]["phase2"]
    final["tasks"]["sts_tr"] = dict.fromkeys(final["tasks"]["sts_tr"])
    final["instructions"] = {"n": None, "correct": None, "acc": None}
    summary["device"] = None
    card = model_card(make_params(), summary, MEASURED, tags=TAGS | {"git_dirty": "true"})
    assert "| sts_tr |  | not measured |" in card
    assert "answered exactly: not measured." in card
    assert "with changes that are not committed" in card
    assert "sts_tr" not in str(head(card))
    assert "not measured" in description(make_params(), summary)


def tracked(params, summary) -> list:
    return [params.model_dump(mode="json", by_alias=True), summary, MEASURED]


def test_every_number_comes_from_a_tracked_file(make_params, summary):
    summary["seconds"] |= {"pretrain": 20.991534161999994}
    card = model_card(make_params(), summary, MEASURED, tags=TAGS)
    assert "237 978 tokens" in card
    assert untraced_numbers(card, tracked(make_params(), summary)) == []


@pytest.mark.parametrize(
    ("told", "instead"),
    [("75.0 % of 300", "76.0 % of 300"), ("237 978", "237 979"), ("| 3 600 |", "| 3 601 |")],
)
def test_a_number_from_nowhere_is_found(make_params, summary, told, instead):
    card = model_card(make_params(), summary, MEASURED, tags=TAGS)
    assert told in card
    changed = card.replace(told, instead)
    (number,) = untraced_numbers(changed, tracked(make_params(), summary))
    assert number in instead


def test_a_card_is_complete_or_says_what_it_lacks(make_params, summary):
    card = model_card(make_params(), summary, MEASURED, tags=TAGS)
    assert missing_parts(card) == []
    lacking = card.replace("license: ", "no: ").replace("## Limits", "## Other")
    assert missing_parts(lacking) == ["front matter: license", "Limits"]
    assert len(missing_parts("nothing")) == 12


def test_licenses_of_all_parts_make_the_license_of_the_model(make_params, summary):
    assert head(model_card(make_params(), summary, MEASURED, tags=TAGS))["license"] == "apache-2.0"
    hub = make_params({"corpus.source": "hub", "tokenizer.source": "hub"})
    card = model_card(hub, summary, MEASURED, tags=TAGS)
    assert head(card)["license"] == "other"
    assert "| tokenizer | jhu-clsp/mmBERT-base @ main | MIT |" in card
    assert "diffutron/DiffutronLM-Pretraining-Corpus @ main | not stated |" in card
    local = make_params({"corpus.source": "local", "corpus.digest": "abc"})
    assert "| local folder, digest `abc` | not stated |" in model_card(
        local, summary, {}, tags=TAGS
    )


def test_a_tuned_version_says_what_it_was_tuned_on(make_params, summary):
    tags = TAGS | {"tuned_on": "my.jsonl", "tuned_from": "models/phase2"}
    said = "was `diffutron tune` on my.jsonl, from `models/phase2`"
    assert said in model_card(make_params(), summary, MEASURED, tags=tags)
    assert said not in model_card(make_params(), summary, MEASURED, tags=TAGS)


def test_the_card_says_how_much_of_a_set_the_search_can_find(make_params, summary):
    said = "word for word in a document: ironytr 477 of 480.\n"
    said += "- Of 6 835 clean documents the search would have dropped 1 by chance"
    assert said in model_card(make_params(), summary, MEASURED, tags=TAGS)
