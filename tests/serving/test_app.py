"""The API with OpenAI's own client, against what the library says offline."""

import asyncio
import json
import socket
import time
from typing import Any

import httpx
import openai
import pytest

import diffutron
from diffutron.diffusion.likelihood.left_to_right import left_to_right
from diffutron.modeling.encoding import begin_ids, encode_texts
from diffutron.modeling.head import logits_fn

from .conftest import run_server

CHAT = [{"role": "user", "content": "Kedi nerede?"}]
MODEL = {"model": "tiny"}


@pytest.fixture(scope="module")
def client(served) -> Any:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


def post(served, path: str, body: Any, **more: Any) -> httpx.Response:
    return httpx.post(served.url + path, json=body, timeout=30, **more)


def test_a_chat_is_that_of_generate(client, lm) -> None:
    sampled = {"temperature": 0.8, "seed": 3, "max_tokens": 12}
    found = client.chat.completions.create(
        **MODEL, messages=CHAT, n=3, **sampled, extra_body={"num_steps": 6, "block_length": 6}
    )
    for choice in found.choices:
        (alone,) = diffutron.generate(
            lm,
            [CHAT],
            max_new_tokens=12,
            temperature=0.8,
            seed=3 + choice.index,
            num_steps=6,
            block_length=6,
        )
        assert choice.message.content == alone.text
        assert choice.finish_reason == ("length" if len(alone.token_ids) == 12 else "stop")
    assert len({choice.message.content for choice in found.choices}) > 1
    assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens


def test_completions_are_those_of_generate(client, lm) -> None:
    texts = ["Kedi bahçede", "Ankara"]
    ids = encode_texts(lm.tokenizer, texts)
    for prompts in (texts, ids):
        found = client.completions.create(
            **MODEL, prompt=prompts, n=2, max_tokens=8, temperature=1.0, seed=5
        )
        for number, prompt in enumerate(prompts):
            for seed in (0, 1):
                options = {"max_new_tokens": 8, "temperature": 1.0, "seed": 5 + seed}
                (alone,) = diffutron.generate(lm, [prompt], chat=False, **options)
                assert found.choices[2 * number + seed].text == alone.text
    assert [choice.index for choice in found.choices] == [0, 1, 2, 3]
    one = client.completions.create(**MODEL, prompt=ids[0], max_tokens=4, echo=True, temperature=0)
    assert one.choices[0].text.startswith(texts[0])
    assert len(one.choices) == 1


def test_a_suffix_is_infilled(client, lm) -> None:
    found = client.completions.create(
        **MODEL, prompt="Kedi ", suffix=" uyuyor.", max_tokens=3, echo=True
    )
    (alone,) = diffutron.infill(lm, ["Kedi [MASK][MASK][MASK] uyuyor."])
    assert found.choices[0].text + " uyuyor." == alone.text


@pytest.mark.parametrize("extra", [{}, {"remask": 0.5, "num_steps": 24}])
def test_a_stream_is_the_same_text(client, extra) -> None:
    options = {**MODEL, "temperature": 1.0, "seed": 1, "max_tokens": 24, "n": 2}
    body = {"block_length": 4, **extra}
    whole = client.chat.completions.create(messages=CHAT, **options, extra_body=body)
    events = list(
        client.chat.completions.create(
            messages=CHAT,
            **options,
            extra_body=body,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    texts, reasons, num_pieces = ["", ""], ["", ""], 0
    for event in events:
        for choice in event.choices:
            texts[choice.index] += choice.delta.content or ""
            num_pieces += bool(choice.delta.content)
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts == [choice.message.content for choice in whole.choices]
    assert reasons == [choice.finish_reason for choice in whole.choices]
    assert num_pieces > 4
    assert events[-1].usage == whole.usage


@pytest.mark.parametrize("chat", [True, False])
def test_drafts_are_the_trace_of_generate(client, lm, chat) -> None:
    asked = {"temperature": 1.0, "seed": 4, "max_tokens": 16}
    ours = {"num_steps": 10, "block_length": 8, "remask": 0.5}
    create = client.chat.completions.create if chat else client.completions.create
    prompt: Any = CHAT if chat else "Kedi"
    stream = create(
        **MODEL,
        **({"messages": prompt} if chat else {"prompt": prompt}),
        **asked,
        n=2,
        extra_body=ours,
        stream=True,
        stream_options={"include_drafts": True},
    )
    steps: list[list[Any]] = [[], []]
    texts, positions = ["", ""], [0, 0]
    for event in stream:
        for choice in event.choices:
            texts[choice.index] += (choice.delta.content or "") if chat else choice.text
            draft = (choice.model_extra or {}).get("draft", {})
            positions[choice.index] += draft.get("positions", 0)
            steps[choice.index] += [draft] if "step" in draft else []
    assert positions == [16, 16]
    for index in (0, 1):
        options = {"max_new_tokens": 16, "temperature": 1.0, "seed": 4 + index, **ours}
        (alone,) = diffutron.generate(lm, [prompt], chat=chat, **options)
        assert texts[index] == alone.text
        assert steps[index] == alone.trace.as_dict()["steps"]
        # the drafts replayed: the last token of each position, in order, are those of the text
        last = {
            token["position"]: token["token"] for one in steps[index] for token in one["tokens"]
        }
        replayed = [last[place] for place in sorted(last)][: len(alone.token_ids)]
        assert replayed == [lm.tokenizer.decode([token]) for token in alone.token_ids]
    reopened = [token for step in steps[0] for token in step["tokens"] if token["token"] is None]
    assert reopened


def test_drafts_of_an_infill_count_from_the_gap(client, lm) -> None:
    stream = client.completions.create(
        **MODEL,
        prompt="Kedi ",
        suffix=" uyuyor.",
        max_tokens=3,
        stream=True,
        stream_options={"include_drafts": True},
    )
    drafts = [event.choices[0].model_extra["draft"] for event in stream]
    (alone,) = diffutron.infill(lm, ["Kedi [MASK][MASK][MASK] uyuyor."])
    places = [token["position"] for draft in drafts[1:] for token in draft["tokens"]]
    assert drafts[0] == {"positions": 3}
    assert sorted(places) == [0, 1, 2]
    offline = [(event.text, event.confidence) for event in alone.trace.events]
    told = [(t["token"], t["confidence"]) for draft in drafts[1:] for t in draft["tokens"]]
    assert told == [(text, pytest.approx(sure, abs=1e-4)) for text, sure in offline]


def test_a_stop_text_ends_the_completion(client) -> None:
    options = {**MODEL, "prompt": "Kedi", "temperature": 1.0, "seed": 2, "max_tokens": 16}
    text = client.completions.create(**options).choices[0].text
    stop = text[5:8]
    (cut,) = client.completions.create(**options, stop=[stop, "yok böyle"]).choices
    assert (cut.text, cut.finish_reason) == (text[: text.index(stop)], "stop")
    streamed = client.completions.create(**options, stop=stop, stream=True)
    assert "".join(event.choices[0].text for event in streamed) == cut.text


def test_many_at_once_get_their_own_answers(served, lm) -> None:
    async def ask(seed: int) -> str:
        body = {"messages": CHAT, "max_tokens": 8, "temperature": 1.0, "seed": seed}
        found = await client.chat.completions.create(**MODEL, **body)
        return found.choices[0].message.content

    async def ask_all() -> list[str]:
        return await asyncio.gather(*(ask(seed) for seed in range(12)))

    client = openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)
    found = asyncio.run(ask_all())
    alone = [
        diffutron.generate(lm, [CHAT], max_new_tokens=8, temperature=1.0, seed=seed)[0].text
        for seed in range(12)
    ]
    assert found == alone


def test_the_logprobs_of_a_prompt_are_those_of_its_order(client, lm) -> None:
    text = "Kedi bahçede 🐈 uyuyor"
    found = client.completions.create(**MODEL, prompt=text, max_tokens=0, echo=True, logprobs=0)
    told = found.choices[0].logprobs
    (ids,) = encode_texts(lm.tokenizer, [text])
    fn = logits_fn(lm.model, mask_token_id=lm.mask_token_id)
    begin, mask = begin_ids(lm.tokenizer), lm.mask_token_id
    right = left_to_right(fn, begin, ids, mask_token_id=mask, batch_rows=1)
    assert told.token_logprobs == pytest.approx(right.logprobs.tolist(), abs=1e-4)
    assert "".join(told.tokens) == text
    assert all(
        text[start:].startswith(piece)
        for start, piece in zip(told.text_offset, told.tokens, strict=True)
    )
    # with a token generated after it, as lm-eval asks, the prompt has the same
    more = client.completions.create(
        **MODEL, prompt=text, max_tokens=1, echo=True, logprobs=1, temperature=0
    )
    told_more = more.choices[0].logprobs
    assert told_more.token_logprobs[:-1] == pytest.approx(told.token_logprobs, abs=1e-4)
    best = max(told_more.top_logprobs[-1].values())
    assert told_more.token_logprobs[-1] == pytest.approx(best, abs=1e-6)  # temperature 0


def test_scores_are_those_of_nelbo(served, lm) -> None:
    texts = ["Kedi bahçede uyuyor.", "Ankara"]
    reply = post(served, "/v1/score", {"input": texts, "samples": 8}).json()
    for told, bound in zip(reply["data"], diffutron.nelbo(lm, texts, num_samples=8), strict=True):
        assert told["nll"] == pytest.approx(bound.nats, abs=1e-3)
        assert told["standard_error"] == pytest.approx(bound.stderr, abs=1e-3)
        assert told["tokens"] == bound.num_tokens
        assert told["bits_per_byte"] == pytest.approx(bound.bits_per_byte, abs=1e-4)


def test_the_state_of_the_server(served, client) -> None:
    (model,) = client.models.list().data
    assert model.id == "tiny"
    for path in ("/health", "/ready"):
        assert httpx.get(served.url + path).status_code == 200
    post(served, "/v1/completions", {"prompt": "Kedi", "max_tokens": 3})
    lines = dict(
        line.rsplit(" ", 1)
        for line in httpx.get(f"{served.url}/metrics").text.splitlines()
        if not line.startswith("#")
    )
    assert float(lines["diffutron:passes_total"]) > 0
    assert float(lines["diffutron:generation_tokens_total"]) > 0
    assert float(lines["diffutron:time_to_first_token_seconds_count"]) > 0


WRONG = {
    "model": {"model": "other", "prompt": "a"},
    "prompt": {"prompt": 3},
    "foo": {"prompt": "a", "foo": 1},
    "max_tokens": {"prompt": "a", "max_tokens": 0},
    "num_steps": {"prompt": "a", "num_steps": 0},
    "block_length": {"prompt": "a", "max_tokens": 8, "block_length": 3},
    "strategy": {"prompt": "a", "strategy": "best"},
    "threshold": {"prompt": "a", "threshold": 2.0},
    "temperature": {"prompt": "a", "temperature": 1e-30},
    "top_p": {"prompt": "a", "top_p": 0.0},
    "n": {"prompt": "a", "n": 0},
    "stop": {"prompt": "a", "stop": 1},
    "logprobs": {"prompt": "a", "logprobs": 1, "stream": True},
}
WRONG_LENGTHS = [
    {"prompt": "a", "max_tokens": 100_000},
    {"prompt": "Kedi " * 500, "max_tokens": 4},
    {"prompt": "a", "max_tokens": 8, "num_steps": 2, "block_length": 2},
    {"prompt": ""},
    {"prompt": []},
    {"prompt": [10_000]},
    {"prompt": ["a"] * 600},
]


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_field_is_named(served, field) -> None:
    reply = post(served, "/v1/completions", WRONG[field])
    error = reply.json()["error"]
    assert reply.status_code == (404 if field == "model" else 400), error
    assert error["param"] == field
    assert field in error["message"]
    assert "\n" not in error["message"]


@pytest.mark.parametrize("body", WRONG_LENGTHS, ids=lambda body: str(body)[:40])
def test_what_does_not_fit_is_refused(served, body) -> None:
    reply = post(served, "/v1/completions", body)
    assert reply.status_code == 400, reply.text
    assert "\n" not in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "robot", "content": "a"}],
        [{"role": "user"}],
        "Kedi",
        [{"role": "user", "content": [{"type": "image_url", "text": "a"}]}],
    ],
)
def test_wrong_messages_are_refused(served, messages) -> None:
    reply = post(served, "/v1/chat/completions", {"messages": messages})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "messages")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 200_000,
        b'{"prompt": ' + b"[" * 200_000,
        b'{"prompt": "\xff\xfe"}',
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "a", "temperature": NaN}',
        b'{"prompt": "a", "threshold": Infinity}',
        b'{"prompt": "a", "seed": 1' + b"0" * 5000 + b"}",
        b'"text"',
    ],
    ids=lambda content: repr(content[:30]),
)
def test_a_body_that_is_no_request_is_refused(served, content) -> None:
    headers = {"Content-Type": "application/json"}
    reply = httpx.post(f"{served.url}/v1/completions", content=content, headers=headers, timeout=30)
    assert reply.status_code == 400
    assert "\n" not in reply.json()["error"]["message"]
    assert httpx.get(f"{served.url}/health").status_code == 200


def test_a_body_too_large_is_refused(served) -> None:
    headers = {"Content-Type": "application/json"}
    content = b'{"prompt": "' + b"a" * 50_000_000 + b'"}'
    reply = httpx.post(f"{served.url}/v1/completions", content=content, headers=headers, timeout=60)
    assert reply.status_code == 413


def test_a_body_that_does_not_come_is_given_up(served, monkeypatch) -> None:
    monkeypatch.setattr("diffutron.serving.guard.READ_SECONDS", 0.3)
    place = served.url.removeprefix("http://").split(":")
    with socket.create_connection((place[0], int(place[1])), timeout=20) as line:
        head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
        line.sendall(head.encode())
        assert line.recv(1000).startswith(b"HTTP/1.1 408")


def test_another_host_name_is_refused(served) -> None:
    for host, status in (("localhost", 200), ("evil.example:8400", 403)):
        reply = httpx.get(f"{served.url}/v1/models", headers={"Host": host})
        assert reply.status_code == status


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_row(served, stream) -> None:
    engine = served.service.engine
    committed = engine.num_committed
    slow = {"max_tokens": 100, "num_steps": 100, "block_length": 100, "remask": 0.9, "n": 40}
    with httpx.Client(timeout=httpx.Timeout(60, read=60 if stream else 0.3)) as client:
        request = client.build_request(
            "POST",
            f"{served.url}/v1/completions",
            json={"prompt": "Kedi", "stream": stream, **slow},
        )
        if stream:
            client.send(request, stream=True).close()
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.send(request)
    given_up = time.monotonic() + 60
    while engine.num_held and time.monotonic() < given_up:
        time.sleep(0.01)
    assert engine.num_held == 0
    assert engine.num_committed == committed  # they left, they did not end


def test_a_key_is_asked_for_and_a_full_queue_says_when_to_come_again(lm) -> None:
    with run_server(lm, key="geheim", max_rows=2, timeout=0.0) as one:
        assert httpx.get(f"{one.url}/health", headers={"Host": "any.example"}).status_code == 200
        assert httpx.get(f"{one.url}/v1/models").status_code == 401
        wrong = {"Authorization": "Bearer gehe"}
        assert httpx.get(f"{one.url}/v1/models", headers=wrong).status_code == 401
        headers = {"Authorization": "Bearer geheim"}
        assert httpx.get(f"{one.url}/v1/models", headers=headers).status_code == 200
        body = {"prompt": "Kedi", "max_tokens": 4}
        late = post(one, "/v1/completions", body, headers=headers)
        assert (late.status_code, late.json()["error"]["code"]) == (408, "timeout")
        streamed = post(one, "/v1/completions", {**body, "stream": True}, headers=headers)
        assert json.loads(streamed.text.strip().splitlines()[-1].removeprefix("data: "))["error"]
        one.service.engine.hold(1)
        full = post(one, "/v1/completions", {**body, "n": 2}, headers=headers)
        assert (full.status_code, full.headers["Retry-After"]) == (429, "1")
        never = post(one, "/v1/completions", {**body, "n": 3}, headers=headers)
        assert never.status_code == 400
