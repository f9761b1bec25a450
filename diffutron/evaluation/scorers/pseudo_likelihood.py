"""Encoders that are no diffusion models: pseudo-log-likelihood, one token masked at a time.

Salazar et al., arXiv 1910.14659, eq. 2. Not a likelihood: it does not sum to 1 over texts and is
too high for tokens that give each other away.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffutron.diffusion.likelihood.any_order import Score
from diffutron.evaluation.scorers.scorer import Scorer, fitting
from diffutron.modeling.encoding import EncodedPair, end_ids


class PseudoLikelihood(Scorer):
    """Any `AutoModelForMaskedLM`. The end tokens of the tokenizer follow the continuation, as in
    the texts that such an encoder was trained on; the mask token has no probability."""

    def __init__(self, model: Any, tokenizer: Any, *, batch_tokens: int = 16_384) -> None:
        super().__init__(model, tokenizer, batch_tokens=fitting(model, batch_tokens))
        self.end = tuple(end_ids(tokenizer))
        if getattr(model.config, "model_type", "") in ("roberta", "xlm-roberta", "camembert"):
            self.max_length -= 2  # positions start after the padding index

    def rows(self, pair: EncodedPair) -> int:
        return len(pair.continuation)

    def score(self, pairs: Sequence[EncodedPair]) -> list[Score]:
        mask = int(self.tokenizer.mask_token_id)
        asked = []
        for pair in pairs:
            room = self.max_length - len(pair.continuation) - len(self.end)
            if room < 0:
                raise ValueError(
                    f"a continuation of {len(pair.continuation)} tokens does not fit the model's "
                    f"{self.max_length}"
                )
            context = self.cut(pair.context, room)
            # Under the public pair encoding the continuation holds the end token itself.
            end = () if pair.continuation[-1:] == self.end[:1] else self.end
            whole = (*context, *pair.continuation, *end)
            asked.append(
                [
                    ((*whole[:place], mask, *whole[place + 1 :]), place, target)
                    for place, target in enumerate(pair.continuation, len(context))
                ]
            )
        return [
            Score(value, 0.0, len(tokens), len(tokens), exact=True)
            for value, tokens in zip(self.score_tokens(asked), asked, strict=True)
        ]

    def logits(
        self, ids: Tensor, attention_mask: Tensor | None, rows: Tensor, cols: Tensor
    ) -> Tensor:
        logits = super().logits(ids, attention_mask, rows, cols).float()
        logits[:, self.tokenizer.mask_token_id] = -torch.inf
        return logits
