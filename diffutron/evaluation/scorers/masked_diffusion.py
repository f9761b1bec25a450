"""Masked diffusion encoders: the any-order bound of `diffusion.likelihood`."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from diffutron.diffusion.likelihood.any_order import Score, fit, score_texts
from diffutron.diffusion.likelihood.masked_rows import Item
from diffutron.evaluation.cetvel.protocols import Protocol
from diffutron.evaluation.cetvel.questions import Question
from diffutron.evaluation.scorers.scorer import Scorer, pad_id
from diffutron.modeling.encoding import EncodedPair, begin_ids, on_one_canvas
from diffutron.modeling.head import logprob_fn
from diffutron.modeling.tokenizer import encode_answers


class MaskedDiffusion(Scorer):
    """Ours and the published checkpoints. max_rows: rows a continuation may cost; it is exact
    where 2^tokens - 1 rows are allowed, else a stratified estimate with a standard error."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        max_rows: int = 16,
        seed: int = 0,
        batch_tokens: int = 16_384,
    ) -> None:
        super().__init__(model, tokenizer, batch_tokens=batch_tokens)
        self.max_rows, self.seed = max_rows, seed
        self.begin = begin_ids(tokenizer)
        self.fn = logprob_fn(model, mask_token_id=tokenizer.mask_token_id)

    def encode_questions(
        self, questions: Sequence[Question], protocol: Protocol
    ) -> list[list[EncodedPair]]:
        """In the chat format all choices of a question fill one canvas."""
        found = super().encode_questions(questions, protocol)
        if not protocol.chat:
            return found
        (closing,) = encode_answers(self.tokenizer, [""])
        mask = int(self.tokenizer.mask_token_id)
        return [on_one_canvas(pairs, closing, mask_token_id=mask) for pairs in found]

    def rows(self, pair: EncodedPair) -> int:
        return min(self.max_rows, 2 ** len(pair.continuation) - 1)

    def score(self, pairs: Sequence[EncodedPair]) -> list[Score]:
        single = [n for n, pair in enumerate(pairs) if len(pair.continuation) == 1]
        found = dict(zip(single, self._score_single([pairs[n] for n in single]), strict=True))
        others = [n for n in range(len(pairs)) if n not in found]
        found |= zip(others, self._score_bound([pairs[n] for n in others]), strict=True)
        return [found[number] for number in range(len(pairs))]

    def _score_single(self, pairs: Sequence[EncodedPair]) -> list[Score]:
        """The bound of one token is its log p behind the context: one row serves all choices."""
        mask = int(self.tokenizer.mask_token_id)
        asked = []
        for pair in pairs:
            ((context, _),) = self._fit(pair)
            row = (*context, mask, *pair.ending)
            asked.append([(row, len(context), pair.continuation[0])])
        return [Score(value, 0.0, 1, 1, exact=True) for value in self.score_tokens(asked)]

    def _fit(self, pair: EncodedPair) -> list[Item]:
        context, room = pair.context[len(self.begin) :], self.max_length - len(pair.ending)
        return fit(self.begin, context, pair.continuation, max_length=room)[0]

    def logprobs(
        self,
        ids: Tensor,
        attention_mask: Tensor | None,
        rows: Tensor,
        cols: Tensor,
        targets: Tensor,
    ) -> Tensor:
        """The head runs at the masked positions alone; the mask token has no probability."""
        return self.fn(ids, attention_mask, rows, cols, targets)

    def _score_bound(self, pairs: Sequence[EncodedPair]) -> list[Score]:
        parts = [self._fit(pair) for pair in pairs]
        longest = max((len(c) + len(x) for part in parts for c, x in part), default=1)
        return score_texts(
            self.fn,
            parts,
            endings=[pair.ending for pair in pairs],
            mask_token_id=self.tokenizer.mask_token_id,
            pad_token_id=pad_id(self.tokenizer),
            max_rows=self.max_rows,
            batch_rows=max(1, self.batch_tokens // longest),
            seed=self.seed,
            device=self.device,
        )
