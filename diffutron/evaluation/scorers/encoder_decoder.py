"""Encoder-decoders of the T5 type: the context is read, the continuation is written."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from diffutron.diffusion.likelihood.any_order import Score
from diffutron.diffusion.likelihood.masked_rows import pad_rows
from diffutron.evaluation.cetvel.protocols import Protocol
from diffutron.evaluation.scorers.scorer import Scorer, fitting, pad_id
from diffutron.modeling.encoding import EncodedPair, encode_texts, move_space


class EncoderDecoder(Scorer):
    """TURNA, Aya-101, mT5. The two sides are two texts: the context with the special tokens of a
    text, the continuation without any. Choices of a question share one pass of the encoder."""

    def __init__(self, model: Any, tokenizer: Any, *, batch_tokens: int = 16_384) -> None:
        super().__init__(model, tokenizer, batch_tokens=fitting(model, batch_tokens))
        self.start = int(model.config.decoder_start_token_id)

    def encode(self, pairs: Sequence[tuple[str, str]], protocol: Protocol) -> list[EncodedPair]:
        if protocol.chat:
            raise ValueError("protocol chat is for models that were tuned to answer in a chat")
        if protocol.whole_minus_context:
            raise ValueError(
                "protocol dllm encodes context and continuation as one text; "
                "an encoder-decoder reads two"
            )
        if not pairs:
            return []
        moved = [move_space(*pair) for pair in pairs]
        contexts = self.tokenizer([context for context, _ in moved])["input_ids"]
        choices = encode_texts(self.tokenizer, [choice for _, choice in moved])
        return [
            EncodedPair(tuple(context), tuple(choice), split_token=False)
            for context, choice in zip(contexts, choices, strict=True)
        ]

    def rows(self, pair: EncodedPair) -> int:
        return 1

    def score(self, pairs: Sequence[EncodedPair]) -> list[Score]:
        totals: list[Score | None] = [None] * len(pairs)
        for contexts, numbers in self._batches(pairs):
            sums = self._score_batch(contexts, [pairs[number] for number in numbers])
            for number, value in zip(numbers, sums, strict=True):
                length = len(pairs[number].continuation)
                totals[number] = Score(value, 0.0, length, 1, exact=True)
        return [score for score in totals if score is not None]

    def _batches(
        self, pairs: Sequence[EncodedPair]
    ) -> Iterator[tuple[dict[tuple[int, ...], int], list[int]]]:
        """Pairs of like length, those of one context together."""
        by_context: dict[tuple[int, ...], list[int]] = {}
        for number, pair in enumerate(pairs):
            by_context.setdefault(pair.context, []).append(number)
        contexts: dict[tuple[int, ...], int] = {}
        numbers: list[int] = []
        tokens = 0
        for context in sorted(by_context, key=len):
            mine = by_context[context]
            cost = len(context) + sum(len(pairs[n].continuation) for n in mine)
            if numbers and tokens + cost > self.batch_tokens:
                yield contexts, numbers
                contexts, numbers, tokens = {}, [], 0
            contexts[context] = len(contexts)
            numbers += mine
            tokens += cost
        if numbers:
            yield contexts, numbers

    @torch.no_grad()
    def _score_batch(
        self, contexts: dict[tuple[int, ...], int], pairs: Sequence[EncodedPair]
    ) -> list[float]:
        read = [torch.tensor(context[-self.max_length :]) for context in contexts]
        ids, mask = _padded(read, self.tokenizer, self.device)
        hidden = self.model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        owner = torch.tensor([contexts[pair.context] for pair in pairs], device=self.device)
        written = [torch.tensor((self.start, *pair.continuation[:-1])) for pair in pairs]
        decoder_ids, decoder_mask = _padded(written, self.tokenizer, self.device)
        logits = self.model(
            encoder_outputs=(hidden[owner],),
            attention_mask=mask[owner],
            decoder_input_ids=decoder_ids,
            decoder_attention_mask=decoder_mask,
            use_cache=False,
        ).logits
        rows = [torch.tensor(pair.continuation, dtype=torch.int64) for pair in pairs]
        targets, _ = _padded(rows, self.tokenizer, self.device)
        # One value a token is asked for, so the vocabulary stays on the device.
        logprobs = logits.float().log_softmax(dim=2).gather(2, targets[:, :, None]).squeeze(2).cpu()
        if bool(logprobs.isnan().any()):
            raise ValueError("the model returned NaN logits; T5 types need bfloat16 or float32")
        pieces = zip(logprobs, rows, strict=True)
        return [float(row[: len(asked)].double().sum()) for row, asked in pieces]


def _padded(rows: list[Tensor], tokenizer: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    ids, mask = pad_rows(rows, pad_token_id=pad_id(tokenizer))
    real = torch.ones_like(ids) if mask is None else mask.long()
    return ids.to(device), real.to(device)
