"""Every number that a published "perplexity" of a masked model may be, on the same texts.

The published 3.42 and 2.75 name no protocol. The candidates: exp of the masked-token loss at a
mask rate (tokens only: what is masked has no bytes of its own), exp of the NELBO, and the
pseudo-perplexity of one masked token at a time (Salazar et al., arXiv 1910.14659, eq. 3); the two
that cover a whole text also by word and by byte.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffutron.data.sources.row_readers import RawRow, read_file
from diffutron.diffusion.likelihood.any_order import nelbo, windows
from diffutron.diffusion.likelihood.mask_rates import masked_nll, pseudo_loglikelihood
from diffutron.inference.language_model import LanguageModel, load_language_model
from diffutron.modeling.encoding import begin_ids, encode_texts
from diffutron.modeling.head import logprob_fn
from diffutron.runtime.errors import UserError
from diffutron.runtime.progress import track

RATES = (0.05, 0.15, 0.3, 0.5, 0.7, 0.9)
WIDTH = 0.01  # of the band of rates around each
WINDOW = 512
BATCH_TOKENS = 16_384


@dataclass(frozen=True)
class Sizes:
    """What a total of nats can be divided by."""

    tokens: int
    words: int
    bytes: int


def read_texts(path: Path | None, *, documents: int, seed: int) -> list[str]:
    """`documents` texts of a JSONL file (field `text`), or of the essays of the built-in sample.

    Raises `UserError` for a file that is not there or holds a row without a text.
    """
    if path is None:
        from diffutron.sample import essays

        texts = [row["text"] for row in essays()]
    else:
        if not path.is_file():
            raise UserError(f"--text {path}: no such file; give a JSONL file with a field `text`")
        texts = [_text_of(row) for row in read_file(path)]
    count = min(documents, len(texts))
    chosen = random.Random(f"{seed}:perplexity").sample(range(len(texts)), count)
    return [texts[number] for number in sorted(chosen)]


def _text_of(row: Any) -> str:
    if not isinstance(row, RawRow) or not isinstance(row.values.get("text"), str):
        raise UserError(f"{row.file}, line {row.line}: need an object with a text `text`")
    return row.values["text"]


def candidates(
    folder: Path, texts: Sequence[str], *, samples: int, seed: int = 0
) -> dict[str, Any]:
    """`masked` by rate, `nelbo` and `pseudo` by unit, all as perplexities, and the sizes.

    Raises `UserError` for a folder that holds no masked language model.
    """
    try:
        lm = load_language_model(folder)
    except ValueError as error:
        raise UserError(str(error)) from error
    ids = encode_texts(lm.tokenizer, texts)
    sizes = Sizes(
        sum(map(len, ids)),
        sum(len(text.split()) for text in texts),
        sum(len(text.encode()) for text in texts),
    )
    common: dict[str, Any] = {
        "mask_token_id": lm.mask_token_id,
        "pad_token_id": lm.pad_token_id,
        "device": lm.device,
        "batch_rows": max(1, BATCH_TOKENS // WINDOW),
    }
    bound = [
        _nelbo(lm, [one], samples=samples, seed=seed, **common)
        for one in track(ids, total=len(ids), desc="NELBO", unit="text")
    ]
    pseudo = [
        _pseudo(lm, one, **common)
        for one in track(ids, total=len(ids), desc="pseudo-perplexity", unit="text")
    ]
    return {
        "documents": len(texts),
        "tokens": sizes.tokens,
        "words": sizes.words,
        "bytes": sizes.bytes,
        "masked": _masked(lm, ids, seed=seed, **common),
        "nelbo": _by_unit(math.fsum(bound), sizes),
        "pseudo": _by_unit(math.fsum(pseudo), sizes),
    }


def _by_unit(nats: float, sizes: Sizes) -> dict[str, float | None]:
    """exp(nats / unit); None where it is no finite number."""
    found: dict[str, float | None] = {}
    for unit, size in (("token", sizes.tokens), ("word", sizes.words), ("byte", sizes.bytes)):
        exponent = nats / size
        found[unit] = math.exp(exponent) if exponent < 700 else None
    return found


def _nelbo(
    lm: LanguageModel, ids: Sequence[Sequence[int]], *, samples: int, seed: int, **common: Any
) -> float:
    scores = nelbo(
        logprob_fn(lm.model, mask_token_id=lm.mask_token_id),
        ids,
        begin=begin_ids(lm.tokenizer),
        max_length=min(WINDOW, lm.max_length),
        num_samples=samples,
        seed=seed,
        **common,
    )
    return -math.fsum(score.logprob for score in scores)


def _pseudo(lm: LanguageModel, ids: Sequence[int], **common: Any) -> float:
    items = windows(begin_ids(lm.tokenizer), ids, max_length=min(WINDOW, lm.max_length))
    fn = logprob_fn(lm.model, mask_token_id=lm.mask_token_id)
    return -math.fsum(pseudo_loglikelihood(fn, items, **common))


def _masked(
    lm: LanguageModel, ids: Sequence[Sequence[int]], *, seed: int, **common: Any
) -> dict[str, float | None]:
    begin, length = begin_ids(lm.tokenizer), min(WINDOW, lm.max_length)
    items = [item for one in ids for item in windows(begin, one, max_length=length)]
    bands = tuple((rate - WIDTH / 2, rate + WIDTH / 2) for rate in RATES)
    totals = [[0.0, 0] for _ in RATES]
    fn = logprob_fn(lm.model, mask_token_id=lm.mask_token_id)
    for found in masked_nll(fn, items, bands=bands, num_draws=4, seed=seed, **common):
        for total, band in zip(totals, found, strict=True):
            total[0] += band.nats
            total[1] += band.num_tokens
    return {
        f"{rate:g}": math.exp(nats / count) if count else None
        for rate, (nats, count) in zip(RATES, totals, strict=True)
    }
