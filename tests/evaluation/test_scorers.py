"""Every scorer against the likelihood computed naively: one pair at a time, no padding."""

import itertools
import math

import pytest
import torch

from diffutron.evaluation.cetvel.protocols import PROTOCOLS
from diffutron.evaluation.scorers.loading import ModelUnavailable, find, load, randomize
from diffutron.evaluation.scorers.systems import Scoring, System
from tests.support.checkpoints import save_model

CORRECTED = PROTOCOLS["corrected"]
SCORING = Scoring(max_rows=63, batch_tokens=16_384, seed=0)
ARCHITECTURES = {
    "llama": "causal",
    "mistral": "causal",
    "gptj": "causal",
    "t5": "encoder_decoder",
    "bert": "pseudo_likelihood",
    "modernbert": "masked_diffusion",
}
CONTEXT = "Kedi bahçede uyuyor, köpek nerede?"
PAIRS = [
    (CONTEXT, " evde"),
    (CONTEXT, "A"),
    (CONTEXT, "B"),
    ("Cümle: Maç bitti.\nSoru: Konu nedir?\n", " spor"),
    ("Kedi " * 9, "uyudu"),
]


@pytest.fixture(scope="module")
def scorers(tmp_path_factory, tiny_tokenizer_dir):
    """`scorers(kind, begin, end)`: a saved model, loaded as the leaderboard loads it."""
    kept = {}

    def make(kind, begin, end):
        key = kind, begin, end
        if key not in kept:
            folder = tmp_path_factory.mktemp(kind) / "model"
            save_model(kind, folder, tiny_tokenizer_dir, begin=begin, end=end)
            system = System(name=kind, architecture=ARCHITECTURES[kind], model=str(folder))  # pyright: ignore
            kept[key] = load(system, find(system), SCORING)
        return kept[key]

    return make


def naive(kind, scorer, pair):
    model, tokenizer = scorer.model, scorer.tokenizer
    context, continuation = list(pair.context), list(pair.continuation)
    with torch.no_grad():
        if kind == "t5":
            labels = torch.tensor([continuation])
            loss = model(input_ids=torch.tensor([context]), labels=labels).loss
            return -float(loss) * len(continuation)
        if ARCHITECTURES[kind] == "causal":
            whole = torch.tensor([(context or [tokenizer.bos_token_id]) + continuation])
            logprobs = model(input_ids=whole).logits[0].log_softmax(-1)
            first = whole.shape[1] - len(continuation)
            return sum(float(logprobs[first + n - 1, t]) for n, t in enumerate(continuation))
        if kind == "bert":
            whole = context + continuation + list(scorer.end)
            return sum(
                _hidden(model, tokenizer, whole, [len(context) + n], len(context), continuation)
                for n in range(len(continuation))
            )
        length, total, whole = len(continuation), 0.0, context + continuation
        for size in range(1, length + 1):
            places = list(itertools.combinations(range(len(context), len(whole)), size))
            values = [
                _hidden(model, tokenizer, whole, hidden, len(context), continuation)
                for hidden in places
            ]
            total += sum(values) / len(values) / size
        return total


def _hidden(model, tokenizer, whole, hidden, first, continuation):
    """Sum of log p of the tokens at `hidden`, all of them masked."""
    ids = torch.tensor([whole])
    ids[0, list(hidden)] = tokenizer.mask_token_id
    logits = model(input_ids=ids).logits[0]
    logits[:, tokenizer.mask_token_id] = -math.inf
    logprobs = logits.log_softmax(-1)
    return sum(float(logprobs[place, continuation[place - first]]) for place in hidden)


@pytest.mark.parametrize(("begin", "end"), [(False, False), (True, True)], ids=["plain", "special"])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_adapter_matches_the_naive_likelihood(scorers, kind, begin, end):
    scorer = scorers(kind, begin, end)
    encoded = scorer.encode(PAIRS, CORRECTED)
    expected = [naive(kind, scorer, pair) for pair in encoded]
    many = scorer.score(encoded)
    scorer.batch_tokens, tokens = 1, scorer.batch_tokens
    one = scorer.score(encoded)
    scorer.batch_tokens = tokens
    assert [score.logprob for score in many] == pytest.approx(expected, abs=1e-4)
    assert [score.logprob for score in one] == pytest.approx(expected, abs=1e-4)
    assert [score.num_tokens for score in many] == [len(pair.continuation) for pair in encoded]
    assert len({round(value, 4) for value in expected}) == len(expected), "values that differ"


@pytest.mark.parametrize("kind", ["llama", "gptj"])
def test_one_token_choices_share_a_row(scorers, kind):
    scorer = scorers(kind, False, False)
    encoded = scorer.encode([(CONTEXT, letter) for letter in "ABCD"], CORRECTED)
    assert {len(pair.continuation) for pair in encoded} == {1}
    rows, plain = [], scorer.logprobs
    scorer.logprobs = lambda ids, *rest: (rows.append(len(ids)), plain(ids, *rest))[1]
    scorer.score(encoded)
    del scorer.logprobs
    assert rows == [1]


def test_long_contexts_lose_their_beginning(scorers):
    for kind in ("llama", "bert", "modernbert", "t5"):
        scorer = scorers(kind, True, True)
        text = "Kedi uyudu. " * 200
        (short,), (long,) = (
            scorer.score(scorer.encode([(before + text, " evde")], CORRECTED))
            for before in ("", "Köpek bekledi. ")
        )
        assert math.isfinite(short.logprob)
        assert (short.logprob == long.logprob) == (kind != "t5"), "T5 has no longest input"
    kept = scorers("llama", True, True).cut((2, *range(20, 100)), 20)
    assert kept == (2, *range(81, 100)), "the begin token stays"


def test_a_continuation_that_cannot_fit_is_an_error(scorers):
    for kind in ("llama", "bert"):
        scorer = scorers(kind, True, True)
        long = scorer.encode([(CONTEXT, " evde" * 300)], CORRECTED)
        with pytest.raises(ValueError, match="does not fit"):
            scorer.score(long)
    windowed = scorers("modernbert", True, True)
    windowed.max_rows = 4
    (score,) = windowed.score(windowed.encode([(CONTEXT, " evde" * 300)], CORRECTED))
    windowed.max_rows = 63
    assert math.isfinite(score.logprob)


def test_an_empty_context_follows_the_begin_token(scorers):
    scorer = scorers("llama", False, False)
    (pair,) = scorer.encode([("", "evde")], CORRECTED)
    assert pair.context == ()
    assert scorer.score([pair])[0].logprob == pytest.approx(naive("llama", scorer, pair), abs=1e-4)


def test_encoder_decoders_have_no_pair_encoding_of_one_text(scorers):
    scorer = scorers("t5", True, True)
    assert scorer.encode([], CORRECTED) == []
    with pytest.raises(ValueError, match="encoder-decoder reads two"):
        scorer.encode(PAIRS, PROTOCOLS["dllm"])


def test_an_encoder_decoder_moves_one_value_a_token_to_the_host(scorers, monkeypatch):
    scorer = scorers("t5", True, True)
    encoded = scorer.encode(PAIRS, CORRECTED)
    moved, plain = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda it: (moved.append(it.shape), plain(it))[1])
    scorer.score(encoded)
    longest = max(len(pair.continuation) for pair in encoded)
    assert moved == [(len(PAIRS), longest)]


def test_nan_logits_of_an_encoder_decoder_are_an_error(scorers, monkeypatch):
    scorer = scorers("t5", True, True)
    encoded = scorer.encode(PAIRS, CORRECTED)
    plain = scorer.model.forward

    def broken(*args, **options):
        found = plain(*args, **options)
        found.logits[1, 0, 7] = math.nan  # a token that nobody asks for
        return found

    monkeypatch.setattr(scorer.model, "forward", broken)
    with pytest.raises(ValueError, match="NaN logits; T5 types need bfloat16 or float32"):
        scorer.score(encoded)


def test_the_public_pair_encoding_loses_the_first_token_where_an_end_token_is_added(scorers):
    with_end, plain = scorers("modernbert", True, True), scorers("modernbert", False, False)
    eos = with_end.tokenizer.eos_token_id
    (lost,) = with_end.encode([(CONTEXT, "A")], PROTOCOLS["dllm"])
    assert lost.continuation == (eos,)
    assert lost.context[-1] == eos, "an end token stands before the choice"
    (whole,) = plain.encode([(CONTEXT, "A")], PROTOCOLS["dllm"])
    (right,) = plain.encode([(CONTEXT, "A")], CORRECTED)
    assert whole == right
    letters = with_end.encode([(CONTEXT, one) for one in "ABCD"], PROTOCOLS["dllm"])
    assert len({(pair.context, pair.continuation) for pair in letters}) == 1, "an exact tie"


@pytest.mark.parametrize(
    ("kind", "begin", "end", "backend"),
    [
        ("llama", False, False, "causal"),
        ("mistral", True, False, "causal"),
        ("t5", False, True, "seq2seq"),
    ],
)
def test_lm_eval_hf_model_agrees_on_every_item(scorers, kind, begin, end, backend):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    scorer = scorers(kind, begin, end)
    theirs = HFLM(
        pretrained=scorer.model, tokenizer=scorer.tokenizer, backend=backend, batch_size=4
    )
    pairs = [(f"{CONTEXT} {n}", f" {word}") for n in range(4) for word in ("evde", "A", "spor")]
    asked = [Instance("loglikelihood", {}, pair, n) for n, pair in enumerate(pairs)]  # pyright: ignore
    expected = [value for value, _ in theirs.loglikelihood(asked, disable_tqdm=True)]
    found = [score.logprob for score in scorer.score(scorer.encode(pairs, CORRECTED))]
    assert found == pytest.approx(expected, abs=1e-4)


def test_random_weights_forget_what_was_there(scorers):
    scorer = scorers("gptj", True, False)
    before = {name: weight.clone() for name, weight in scorer.model.named_parameters()}
    encoded = scorer.encode(PAIRS, CORRECTED)
    values = [score.logprob for score in scorer.score(encoded)]
    randomize(scorer.model, seed=1)
    drawn = {name: weight.clone() for name, weight in scorer.model.named_parameters()}
    assert all(not torch.equal(drawn[n], before[n]) for n in before if before[n].dim() > 1)
    assert [score.logprob for score in scorer.score(encoded)] != values
    randomize(scorer.model, seed=1)
    assert all(torch.equal(w, drawn[n]) for n, w in scorer.model.named_parameters())


def test_a_model_that_is_nowhere_is_not_at_hand():
    for name in ("models/phase2", "no/such/folder", "x"):
        system = System(name="x", architecture="masked_diffusion", model=name)
        with pytest.raises(ModelUnavailable, match="no folder"):
            find(system)
    hub = System(name="x", architecture="causal", model="some/model", revision="main")
    with pytest.raises(ModelUnavailable, match="model some/model is not in the cache"):
        find(hub)
