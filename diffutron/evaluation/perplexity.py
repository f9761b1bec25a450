"""How well a model predicts text: the bound in bits a byte, and perplexity by mask rate.

Every model gets the same noise on the same documents (draws are fixed by the seed), so models are
compared document by document. Values are in nats unless the name says bits.
"""

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffutron.data.token_store import read_documents
from diffutron.diffusion.likelihood.any_order import Score, nelbo, windows
from diffutron.diffusion.likelihood.mask_rates import masked_nll
from diffutron.evaluation.statistics.intervals import PairedDifference, one_sided, paired_difference
from diffutron.modeling.encoding import begin_ids, encode_texts, end_ids
from diffutron.modeling.head import logprob_fn
from diffutron.runtime.errors import UserError
from diffutron.runtime.progress import Progress

BANDS = ((0.0, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1.0))  # mask rates
DRAWS = 2  # masks a document and band
DOCUMENTS_A_CALL = 32
BATCH_TOKENS = 16_384
UNLIMITED = 2**62
WINDOW = 512  # tokens that are seen at a time, where the model holds as many


@dataclass(frozen=True)
class TextSet:
    """Documents as token ids without the begin token, and their sizes in UTF-8 bytes."""

    ids: list[list[int]]
    num_bytes: list[int]


@dataclass(frozen=True)
class TextMeasures:
    """What one model gives a text set; `nats` a document, `perplexity` a band of mask rates."""

    nats: list[float]
    bits_per_byte: float
    bits_per_byte_stderr: float
    nats_per_token: float
    perplexity: dict[str, float]


def heldout_set(corpus: Path, tokenizer: Any, *, documents: int, seed: int) -> TextSet:
    """Held-out documents of the stage `corpus`, drawn without replacement, in file order."""
    import polars

    samples = read_documents(corpus, "heldout", max_tokens=UNLIMITED)
    texts = polars.read_parquet(corpus / "heldout.parquet", columns=["text"])["text"]
    if len(texts) != len(samples):
        raise UserError(
            f"{corpus}: heldout.parquet has {len(texts)} documents, heldout_bounds.npy has "
            f"{len(samples)}; run `diffutron corpus` again"
        )
    count = min(documents, len(samples))
    chosen = sorted(random.Random(f"{seed}:heldout").sample(range(len(samples)), count))
    skip = len(begin_ids(tokenizer))
    return TextSet(
        ids=[samples.tokens(number)[skip:].tolist() for number in chosen],
        num_bytes=[len(texts[number].encode()) for number in chosen],
    )


def text_set(texts: Sequence[str], tokenizer: Any) -> TextSet:
    """Any texts, with the end token that the tokenizer gives a whole text."""
    end = end_ids(tokenizer)
    return TextSet(
        ids=[[*ids, *end] for ids in encode_texts(tokenizer, texts)],
        num_bytes=[len(text.encode()) for text in texts],
    )


def measure(
    model: Any, tokenizer: Any, texts: TextSet, *, num_samples: int, seed: int, desc: str
) -> TextMeasures:
    """NELBO, bits a byte and masked-token perplexity of a text set; longer ones go in
    windows."""
    begin = begin_ids(tokenizer)
    max_length = min(WINDOW, model.config.max_position_embeddings)
    common: dict[str, Any] = {
        "mask_token_id": tokenizer.mask_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "device": model.device,
    }
    fn = logprob_fn(model, mask_token_id=tokenizer.mask_token_id)
    scores: list[Score | None] = [None] * len(texts.ids)
    totals = [[0.0, 0] for _ in BANDS]
    with Progress(total=len(texts.ids), desc=desc, unit="document") as bar:
        order = sorted(range(len(texts.ids)), key=lambda number: len(texts.ids[number]))
        for call, start in enumerate(range(0, len(order), DOCUMENTS_A_CALL)):
            numbers = order[start : start + DOCUMENTS_A_CALL]
            part = [texts.ids[number] for number in numbers]
            longest = min(max_length, 1 + max(map(len, part)))
            common["batch_rows"] = max(1, BATCH_TOKENS // longest)
            found = nelbo(
                fn, part, begin=begin, max_length=max_length, num_samples=num_samples, seed=seed,
                **common,
            )  # fmt: skip
            for number, score in zip(numbers, found, strict=True):
                scores[number] = score
            items = [item for ids in part for item in windows(begin, ids, max_length=max_length)]
            call_seed = seed * 1_000_003 + call  # the n-th text of each call draws other masks
            for bands in masked_nll(
                fn, items, bands=BANDS, num_draws=DRAWS, seed=call_seed, **common
            ):
                for total, band in zip(totals, bands, strict=True):
                    total[0] += band.nats
                    total[1] += band.num_tokens
            bar.update(len(numbers))
    return _summed([score for score in scores if score is not None], totals, texts)


def _summed(
    scores: Sequence[Score], totals: Sequence[Sequence[float]], texts: TextSet
) -> TextMeasures:
    nats = [-score.logprob for score in scores]
    errors: dict[tuple[int, ...], float] = defaultdict(float)  # equal documents have equal draws
    for ids, score in zip(texts.ids, scores, strict=True):
        errors[tuple(ids)] += score.stderr
    to_bits_per_byte = 1 / (math.log(2) * sum(texts.num_bytes))
    return TextMeasures(
        nats=nats,
        bits_per_byte=math.fsum(nats) * to_bits_per_byte,
        bits_per_byte_stderr=math.hypot(*errors.values()) * to_bits_per_byte,
        nats_per_token=math.fsum(nats) / sum(score.num_tokens for score in scores),
        perplexity={
            f"{low:g}-{high:g}".replace("0.", "."): math.exp(total / count)
            for (low, high), (total, count) in zip(BANDS, totals, strict=True)
        },
    )


def compare(base: TextMeasures, other: TextMeasures, texts: TextSet, *, seed: int) -> dict:
    """`other` against `base` in bits a byte, paired over documents; `p_value`: one-sided paired t
    that `other` is lower."""
    bits = [[value / math.log(2) for value in one.nats] for one in (base, other)]
    found: PairedDifference = paired_difference(*bits, size=texts.num_bytes, seed=seed)
    return {
        "documents": found.n,
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "p_value": one_sided(found.p_t, found.difference, less=True),
        "p_wilcoxon": found.p_wilcoxon,
        "p_bootstrap": found.p_bootstrap,
    }
