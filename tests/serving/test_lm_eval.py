"""lm-eval's own client for servers, against what the library scores offline."""

import itertools
from typing import Any

import httpx
import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalCompletionsAPI

import diffutron
from diffutron.diffusion.likelihood.left_to_right import left_to_right
from diffutron.modeling.encoding import begin_ids, encode_pairs, encode_texts
from diffutron.modeling.head import logits_fn

CONTEXTS = ["Kedi bahçede", "Ankara Türkiye'nin", "Yarın sabah", "Çocuklar ağacın", "Öğretmen"]


def choices_of_one_token(lm: Any, context: str) -> list[str]:
    """Four texts that are one token each after the context."""
    texts = (lm.tokenizer.decode([number]) for number in range(20, lm.vocab_size, 7))
    spaced = (text for text in texts if text.startswith(" ") and text.strip().isalpha())

    def is_one(text: str) -> bool:
        (pair,) = encode_pairs(lm.tokenizer, [(context, text)])
        return len(pair.continuation) == 1 and not pair.split_token

    return list(itertools.islice(filter(is_one, spaced), 4))


@pytest.mark.parametrize("tokenized", [True, False])
def test_choices_of_one_token_have_the_score_of_the_library(
    served, lm, tiny_model_dir, tokenized
) -> None:
    client = LocalCompletionsAPI(
        base_url=f"{served.url}/v1/completions",
        model="tiny",
        tokenizer=str(tiny_model_dir),
        tokenizer_backend="huggingface",
        tokenized_requests=tokenized,
        max_length=128,
        num_concurrent=4,
    )
    pairs = [
        (context, choice) for context in CONTEXTS for choice in choices_of_one_token(lm, context)
    ]
    assert len(pairs) == 4 * len(CONTEXTS)
    asked = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]
    found = [nats for nats, _ in client.loglikelihood(asked)]
    offline = [scored.logprob for scored in diffutron.score(lm, pairs)]
    assert found == pytest.approx(offline, abs=1e-4)
    best = [max(range(4), key=found[4 * item :][:4].__getitem__) for item in range(len(CONTEXTS))]
    right = [
        max(range(4), key=offline[4 * item :][:4].__getitem__) for item in range(len(CONTEXTS))
    ]
    assert best == right
    assert len({*best}) > 1


def test_a_longer_choice_has_the_score_of_its_order(served, lm, tiny_model_dir) -> None:
    client = LocalCompletionsAPI(
        base_url=f"{served.url}/v1/completions",
        model="tiny",
        tokenizer=str(tiny_model_dir),
        tokenizer_backend="huggingface",
        max_length=128,
    )
    context, choice = "Kedi bahçede", " uyuyor ve bekliyor"
    ((nats, greedy),) = client.loglikelihood([Instance("loglikelihood", {}, (context, choice), 0)])
    ids, whole = encode_texts(lm.tokenizer, [context, context + choice])
    fn = logits_fn(lm.model, mask_token_id=lm.mask_token_id)
    scored = left_to_right(
        fn, begin_ids(lm.tokenizer), whole, mask_token_id=lm.mask_token_id, batch_rows=1
    )
    assert nats == pytest.approx(float(scored.logprobs[len(ids) :].sum()), abs=1e-3)
    assert not greedy


def test_ids_that_leave_no_room_for_the_begin_token_are_refused(served, lm) -> None:
    body = {"prompt": [20] * lm.max_length, "max_tokens": 0, "echo": True, "logprobs": 0}
    reply = httpx.post(f"{served.url}/v1/completions", json=body, timeout=60)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "prompt")
    body["prompt"] = [*begin_ids(lm.tokenizer), *[20] * 4]
    told = httpx.post(f"{served.url}/v1/completions", json=body, timeout=60).json()
    assert len(told["choices"][0]["logprobs"]["token_logprobs"]) == 5
