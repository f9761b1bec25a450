"""The bound on the likelihood of whole texts, by any function that runs the model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from diffutron.diffusion import LogprobFn
from diffutron.diffusion.likelihood import any_order as likelihood
from diffutron.inference.language_model import LanguageModel
from diffutron.inference.results import Bound
from diffutron.modeling.encoding import begin_ids, encode_texts, end_ids

WINDOW = 512  # the longest window unless the caller says otherwise


@dataclass(frozen=True, slots=True)
class EncodedTexts:
    """Texts and their ids, with the end token if the model was trained with one.

    begin: what stands before each text.
    """

    texts: Sequence[str]
    ids: list[list[int]]
    begin: list[int]


def encode_for_bound(lm: LanguageModel, texts: Sequence[str]) -> EncodedTexts:
    """What `bound_texts` scores. ValueError for an empty text."""
    for number, text in enumerate(texts):
        if not text:
            raise ValueError(f"texts: number {number} is empty; it has no bits per byte")
    end = end_ids(lm.tokenizer) if lm.info.get("trained_with_eos", False) else []
    ids = [[*ids, *end] for ids in encode_texts(lm.tokenizer, texts)]
    return EncodedTexts(texts, ids, begin_ids(lm.tokenizer))


def bound_texts(
    lm: LanguageModel,
    fn: LogprobFn,
    encoded: EncodedTexts,
    *,
    num_samples: int,
    batch_tokens: int,
    seed: int,
    max_length: int | None = None,
    batch_rows: int | None = None,
) -> list[Bound]:
    """The negative ELBO of each text; see `diffutron.nelbo`.

    batch_rows: rows of a pass, by default as many windows as hold `batch_tokens`.
    """
    longest = min(lm.max_length, max_length or WINDOW)
    found = likelihood.nelbo(
        fn,
        encoded.ids,
        begin=encoded.begin,
        max_length=longest,
        mask_token_id=lm.mask_token_id,
        pad_token_id=lm.pad_token_id,
        num_samples=num_samples,
        batch_rows=batch_rows or max(1, batch_tokens // longest),
        seed=seed,
        device=lm.device,
    )
    return [
        Bound(-s.logprob, -s.logprob / math.log(2) / len(text.encode()), s.stderr, s.num_tokens)
        for text, s in zip(encoded.texts, found, strict=True)
    ]
