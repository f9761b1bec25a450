"""Typed questions over HTTP: transformers' wire form, and the numbers of `diffutron.decide`."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest
from transformers.cli.serving.systemone import SystemOneRequest
from transformers.decision.configuration_utils import DecisionConfig
from transformers.decision.template_utils import parse_questions

import diffutron
from diffutron.inference.decisions import YES_NO
from diffutron.serving.systemone import MAX_OPTIONS

from .conftest import run_server

STATE = "Cümle: Kedi bahçede uyuyor."
CHOICE = {"type": "choice", "instructions": "Konu?", "criteria": {"spor": None, "evcil": None}}
LEVELS = ["Bekler", "Bu hafta", "Bugün"]
SCORE = {"type": "score", "instructions": "Ne kadar acele?", "criteria": LEVELS}
NOUL = {"type": "noul", "instructions": "Kedi uyuyor mu?"}
QUESTIONS = {"konu": CHOICE, "acele": SCORE, "uyku": NOUL}
LONG = CHOICE | {"criteria": {f"{number} {'kedi ' * 15}": None for number in range(60)}}
REQUEST = {"model": "tiny", "state": STATE, "questions": QUESTIONS}


def post(served, body: Any) -> httpx.Response:
    return httpx.post(f"{served.url}/v1/systemone", json=body, timeout=60)


def close(told: Any, right: Any) -> bool:
    """Equal, numbers to five places."""
    if isinstance(right, dict):
        return told.keys() == right.keys() and all(close(told[key], right[key]) for key in right)
    return told == (pytest.approx(right, abs=1e-5) if isinstance(right, float) else right)


def offline(lm, question: dict[str, Any], state: str = STATE) -> list[float]:
    options = {"choice": [*(question.get("criteria") or {})], "score": LEVELS}
    words = options.get(question["type"], [*YES_NO])
    found = diffutron.decide(lm, question["instructions"], words, state)
    return [*found.probabilities.values()]


def test_each_type_is_answered_as_transformers_shapes_it(served, lm) -> None:
    SystemOneRequest.model_validate(REQUEST, strict=True)
    reply = post(served, REQUEST)
    assert reply.status_code == 200, reply.text
    told = reply.json()
    assert [*told] == ["model", "answers", "usage"]
    assert (told["model"], told["usage"]["output_tokens"]) == ("tiny", 0)
    assert told["usage"]["input_tokens"] > 0
    for typed in parse_questions(QUESTIONS, DecisionConfig()):
        right = typed.answer(offline(lm, QUESTIONS[typed.name]))
        assert close(told["answers"][typed.name], right), typed.name
    assert told["answers"]["acele"]["legend"] == {str(n): text for n, text in enumerate(LEVELS)}


def test_criteria_stand_in_the_prompt_whatever_their_order(served, lm) -> None:
    criteria = {"spor": "maç ve takım", "evcil": None, "doğa": {"ağaç": ["çam"]}}
    for names in ([*criteria], [*criteria][::-1]):
        question = CHOICE | {"criteria": {name: criteria[name] for name in names}}
        told = post(served, {"state": STATE, "questions": {"konu": question}}).json()
        asked = 'Konu?\ndoğa: {"ağaç": ["çam"]}\nspor: maç ve takım'
        right = diffutron.decide(lm, asked, names, STATE).probabilities
        assert told["answers"]["konu"]["probabilities"] == pytest.approx(right, abs=1e-5)
    told = {"true": "Uyur.", "false": None}
    reply = post(served, {"state": STATE, "questions": {"uyku": NOUL | {"criteria": told}}})
    asked = "Kedi uyuyor mu?\nEvet: Uyur."
    right = diffutron.decide(lm, asked, ["Evet", "Hayır"], STATE).probabilities["Evet"]
    assert reply.json()["answers"]["uyku"]["noul"] == pytest.approx(right, abs=1e-5)


@pytest.mark.parametrize("state", [{"kedi": "uyuyor", "saat": 3}, ["kedi", None]])
def test_a_state_that_is_no_text_is_read_as_json(served, lm, state) -> None:
    told = post(served, {"state": state, "questions": {"konu": CHOICE}}).json()
    right = offline(lm, CHOICE, json.dumps(state, ensure_ascii=False))
    shares = told["answers"]["konu"]["probabilities"]
    assert [*shares.values()] == pytest.approx(right, abs=1e-5)


def test_decisions_are_the_same_in_any_company(served, lm) -> None:
    """Beside long texts, scores and other decisions."""
    states = [f"Cümle: Kedi {number} kez uyudu." for number in range(4)]

    def generate(seed: int) -> int:
        body = {"prompt": "Kedi", "max_tokens": 40, "num_steps": 40, "temperature": 1, "seed": seed}
        return httpx.post(f"{served.url}/v1/completions", json=body, timeout=60).status_code

    def score(seed: int) -> int:
        body = {"input": states, "samples": 16, "seed": seed}
        return httpx.post(f"{served.url}/v1/score", json=body, timeout=60).status_code

    with ThreadPoolExecutor(8) as pool:
        others = [pool.submit(work, number) for number in range(2) for work in (generate, score)]
        bodies = [{"state": state, "questions": QUESTIONS} for state in states]
        found = [*pool.map(lambda body: post(served, body).json()["answers"], bodies)]
        assert {other.result() for other in others} == {200}
    for state, answers in zip(states, found, strict=True):
        for typed in parse_questions(QUESTIONS, DecisionConfig()):
            right = typed.answer(offline(lm, QUESTIONS[typed.name], state))
            assert close(answers[typed.name], right), (state, typed.name)


def test_probabilities_are_divided_by_the_temperature_of_their_kind(lm) -> None:
    """A score is asked as a choice is."""
    temperatures = {"choice": 2.5, "noul": 0.4}
    calibrated = replace(lm, temperatures=temperatures)
    with run_server(calibrated, max_batch_tokens=2048) as one:
        told = post(one, REQUEST).json()["answers"]
    for typed in parse_questions(QUESTIONS, DecisionConfig()):
        right = typed.answer(offline(calibrated, QUESTIONS[typed.name]))
        assert close(told[typed.name], right), typed.name
        assert not close(right, typed.answer(offline(lm, QUESTIONS[typed.name])))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/score", {"input": ["Kedi bahçede uyuyor. " * 20] * 50, "samples": 1024}),
        ("/v1/systemone", {"state": STATE, "questions": dict.fromkeys([*"abcdef"], LONG)}),
    ],
)
def test_a_client_that_goes_away_is_no_fault_of_the_server(served, caplog, path, body) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(served.url + path, json=body, timeout=httpx.Timeout(60, read=0.3))
    given_up = time.monotonic() + 60
    while served.service.engine.num_held and time.monotonic() < given_up:
        time.sleep(0.01)
    assert served.service.engine.num_held == 0
    assert httpx.get(f"{served.url}/health").status_code == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def one(**changed: Any) -> dict[str, Any]:
    return {"state": "a", "questions": {"konu": CHOICE | changed}}


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


MANY = {str(number): None for number in range(MAX_OPTIONS + 1)}
WRONG = {
    "no questions": ({"state": "a"}, "questions"),
    "none of them": ({"state": "a", "questions": {}}, "questions"),
    "too many": ({"state": "a", "questions": dict.fromkeys([*MANY], NOUL)}, "questions"),
    "no state": ({"questions": QUESTIONS}, "state"),
    "a number as state": ({"state": 3, "questions": QUESTIONS}, "state"),
    "unknown type": (one(type="rank"), "questions"),
    "no criteria": (one(criteria={}), "questions"),
    "a list of criteria": (one(criteria=["a"]), "questions"),
    "a key too many": (one(foo=1), "questions"),
    "an empty option": (one(criteria={" ": None}), "questions"),
    "equal options": (one(criteria={"a": None, "a ": None}), "questions"),
    "too many options": (one(criteria=MANY), "questions"),
    "a long state": ({"state": "kedi " * 500, "questions": QUESTIONS}, "questions"),
    "nothing asked": (one(instructions=None) | {"state": ""}, "questions"),
    "images": ({"state": "a", "questions": QUESTIONS, "assets": {"img-1": {}}}, "assets"),
    "a field too many": (REQUEST | {"temperature": 1}, "temperature"),
    "deep criteria": (one(criteria={"a": nested(600)}), None),
    "deep instructions": (one(instructions=nested(800)), None),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_is_refused_in_one_line(served, name) -> None:
    body, field = WRONG[name]
    reply = post(served, body)
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert error["param"] == field
    assert "\n" not in error["message"]
    assert field is None or field in error["message"]
    assert httpx.get(f"{served.url}/health").status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        b'{"state": {"a": NaN}, "questions": {"a": {"type": "noul"}}}',
        b'{"state": "\\ud800", "questions": {"a": {"type": "noul"}}}',
        b'{"state": {"\\ud800": 1}, "questions": {"a": {"type": "noul"}}}',
        b'{"state": "a", "questions": {"\\ud800": {"type": "noul"}}}',
        b'{"state": "a", "questions": {"a": {"type": "choice", "criteria": {"\\ud800": null}}}}',
        b'{"state": "a", "questions": {"a": {"type": "score", "criteria": ["\\ud800"]}}}',
        b'{"state": ' + b"[" * 900 + b"]" * 900 + b', "questions": {"a": {"type": "noul"}}}',
        b'{"state": ' + b"[" * 9000 + b"]" * 9000 + b', "questions": {"a": {"type": "noul"}}}',
    ],
    ids=lambda content: repr(content[:40]),
)
def test_a_body_that_is_no_text_is_refused(served, content) -> None:
    headers = {"Content-Type": "application/json"}
    url = f"{served.url}/v1/systemone"
    reply = httpx.post(url, content=content, headers=headers, timeout=30)
    assert reply.status_code == 400, reply.text
    assert "\n" not in reply.json()["error"]["message"]


def test_another_model_is_not_served(served) -> None:
    reply = post(served, REQUEST | {"model": "other"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")
