"""Every number that a published "perplexity" of a masked model may be, on the same texts.

The published 3.42 and 2.75 name no protocol. The candidates: exp of the masked-token loss at a
mask rate (tokens only: what is masked has no bytes of its own), exp of the NELBO, and the
pseudo-perplexity of one masked token at a time (Salazar et al., arXiv 1910.14659, eq. 3); the two
that cover a whole text also by word and by byte.
"""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffutron.data.sources.row_readers import RawRow, read_file
from diffutron.diffusion.likelihood.any_order import nelbo, windows
from diffutron.diffusion.likelihood.mask_rates import MaskedNLL, masked_nll, pseudo_loglikelihood
from diffutron.inference.language_model import load_language_model
from diffutron.modeling.encoding import begin_ids, encode_texts
from diffutron.modeling.head import logprob_fn
from diffutron.runtime.errors import UserError
from diffutron.runtime.progress import track

RATES = (0.05, 0.15, 0.3, 0.5, 0.7, 0.9)
WIDTH = 0.01  # of the band of rates around each
WINDOW = 512
BATCH_TOKENS = 16_384


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
        texts = []
        for row in read_file(path):
            if not isinstance(row, RawRow) or not isinstance(row.values.get("text"), str):
                raise UserError(f"{row.file}, line {row.line}: need an object with a text `text`")
            texts.append(row.values["text"])
    count = min(documents, len(texts))
    chosen = random.Random(f"{seed}:perplexity").sample(range(len(texts)), count)
    return [texts[number] for number in sorted(chosen)]


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
    begin, max_length = begin_ids(lm.tokenizer), min(WINDOW, lm.max_length)
    fn = logprob_fn(lm.model, mask_token_id=lm.mask_token_id)
    common: dict[str, Any] = {
        "mask_token_id": lm.mask_token_id,
        "pad_token_id": lm.pad_token_id,
        "device": lm.device,
        "batch_rows": max(1, BATCH_TOKENS // WINDOW),
    }
    drawn = {"begin": begin, "max_length": max_length, "num_samples": samples, "seed": seed}
    bound, pseudo = [], []
    for one in track(ids, total=len(ids), desc="NELBO", unit="text"):
        bound += [-score.logprob for score in nelbo(fn, [one], **drawn, **common)]
    for one in track(ids, total=len(ids), desc="pseudo-perplexity", unit="text"):
        items = windows(begin, one, max_length=max_length)
        pseudo += [-logprob for logprob in pseudo_loglikelihood(fn, items, **common)]
    items = [item for one in ids for item in windows(begin, one, max_length=max_length)]
    bands = tuple((rate - WIDTH / 2, rate + WIDTH / 2) for rate in RATES)
    masked = masked_nll(fn, items, bands=bands, num_draws=4, seed=seed, **common)
    units = {
        "token": sum(map(len, ids)),
        "word": sum(len(text.split()) for text in texts),
        "byte": sum(len(text.encode()) for text in texts),
    }
    return {
        "documents": len(texts),
        **{f"{unit}s": size for unit, size in units.items()},
        "masked": {
            f"{rate:g}": _of_rate(item[k] for item in masked) for k, rate in enumerate(RATES)
        },
        "nelbo": _by_unit(math.fsum(bound), units),
        "pseudo": _by_unit(math.fsum(pseudo), units),
    }


def _by_unit(nats: float, units: Mapping[str, int]) -> dict[str, float | None]:
    """exp(nats / size) by unit; None where it is no finite number."""
    found = {unit: nats / size for unit, size in units.items()}
    return {unit: math.exp(each) if each < 700 else None for unit, each in found.items()}


def _of_rate(found: Iterable[MaskedNLL]) -> float | None:
    """exp of the mean loss of all tokens that were masked at one rate."""
    each = list(found)
    count = sum(one.num_tokens for one in each)
    return math.exp(sum(one.nats for one in each) / count) if count else None
