"""Causal decoders: log p(continuation | context) by the chain rule, left to right."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffutron.diffusion.likelihood.any_order import Score
from diffutron.evaluation.scorers.scorer import Scorer, fitting
from diffutron.modeling.encoding import EncodedPair


class CausalDecoder(Scorer):
    """Llama, Mistral, Qwen, GPT and their like. Choices whose tokens but the last are equal share
    a row: all one-token choices of a question together cost one."""

    def __init__(self, model: Any, tokenizer: Any, *, batch_tokens: int = 16_384) -> None:
        super().__init__(model, tokenizer, batch_tokens=fitting(model, batch_tokens))
        self.keeps = "logits_to_keep" in inspect.signature(model.forward).parameters

    def rows(self, pair: EncodedPair) -> int:
        return 1

    def score(self, pairs: Sequence[EncodedPair]) -> list[Score]:
        asked = []
        for pair in pairs:
            context = self._context(pair)
            row = (*context, *pair.continuation[:-1])
            asked.append([(row, n, t) for n, t in enumerate(pair.continuation, len(context) - 1)])
        return [
            Score(value, 0.0, len(tokens), 1, exact=True)
            for value, tokens in zip(self.score_tokens(asked), asked, strict=True)
        ]

    def _context(self, pair: EncodedPair) -> tuple[int, ...]:
        """At least one token: without one there is nothing that the first would follow."""
        room = self.max_length + 1 - len(pair.continuation)  # the last token is never an input
        if room < 1:
            raise ValueError(
                f"a continuation of {len(pair.continuation)} tokens does not fit the model's "
                f"{self.max_length}"
            )
        tokenizer = self.tokenizer
        start = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        return self.cut(pair.context or (start,), room)

    def logits(
        self, ids: Tensor, attention_mask: Tensor | None, rows: Tensor, cols: Tensor
    ) -> Tensor:
        mask = None if attention_mask is None else attention_mask.long()
        if not self.keeps:
            return self.model(input_ids=ids, attention_mask=mask).logits[rows, cols]
        kept, place = torch.unique(cols, return_inverse=True)
        found = self.model(input_ids=ids, attention_mask=mask, logits_to_keep=kept, use_cache=False)
        return found.logits[rows, place]
