"""What every scorer does: strings to ids by a protocol, ids to log-likelihoods in nats."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffutron.diffusion.likelihood.any_order import Score
from diffutron.diffusion.likelihood.masked_rows import batched_logprobs
from diffutron.evaluation.cetvel.protocols import Protocol, encode
from diffutron.evaluation.cetvel.questions import Question
from diffutron.modeling.encoding import EncodedPair

UNLIMITED = 1 << 20  # some tokenizers name a length of 10^30
Asked = tuple[tuple[int, ...], int, int]  # a row of ids, and the target at a position of it
LENGTHS = ("max_position_embeddings", "n_positions", "max_sequence_length")


class Scorer(ABC):
    """A model that gives log p(continuation | context).

    batch_tokens: tokens that run through the model at a time; without influence on the values.
    max_rows: model rows that a continuation may cost where its value is an estimate.
    """

    max_rows = 1

    def __init__(self, model: Any, tokenizer: Any, *, batch_tokens: int = 16_384) -> None:
        self.model, self.tokenizer, self.batch_tokens = model, tokenizer, batch_tokens
        self.device: torch.device = model.device
        self.max_length = longest_input(model, tokenizer)

    def encode(self, pairs: Sequence[tuple[str, str]], protocol: Protocol) -> list[EncodedPair]:
        """Ids of (context, continuation) strings, begin tokens in the context."""
        return encode(self.tokenizer, pairs, protocol)

    def encode_questions(
        self, questions: Sequence[Question], protocol: Protocol
    ) -> list[list[EncodedPair]]:
        """The pairs of each question, one for each choice."""
        pairs = iter(self.encode([pair for one in questions for pair in one.pairs], protocol))
        return [[next(pairs) for _ in one.choices] for one in questions]

    @abstractmethod
    def score(self, pairs: Sequence[EncodedPair]) -> list[Score]:
        """The log-likelihood of each continuation, in the order given."""

    @abstractmethod
    def rows(self, pair: EncodedPair) -> int:
        """Model rows that a pair may cost: what the batches of the caller are cut by."""

    def cost(self, pair: EncodedPair) -> int:
        """Tokens that a pair may cost."""
        return self.rows(pair) * len(pair)

    def cut(self, context: Sequence[int], room: int) -> tuple[int, ...]:
        """The context as it fits: the special tokens stay, the text loses its beginning."""
        if len(context) <= room:
            return tuple(context)
        special = set(self.tokenizer.all_special_ids)
        head = next((n for n, token in enumerate(context) if token not in special), 0)
        head = min(head, max(0, room))
        return (*context[:head], *context[len(context) - (room - head) :])

    def score_tokens(self, asked: Sequence[Sequence[Asked]]) -> list[float]:
        """The sum of log p over the tokens of each pair; equal rows run once."""
        known: dict[tuple[int, ...], int] = {}
        tokens = [token for pair in asked for token in pair]
        owner = [known.setdefault(row, len(known)) for row, _, _ in tokens]
        values = batched_logprobs(
            self.logprobs,
            [torch.tensor(row) for row in known],
            torch.tensor(owner, dtype=torch.int64),
            torch.tensor([col for _, col, _ in tokens], dtype=torch.int64),
            torch.tensor([target for _, _, target in tokens], dtype=torch.int64),
            pad_token_id=pad_id(self.tokenizer),
            batch_rows=max(1, self.batch_tokens // max(map(len, known), default=1)),
            device=self.device,
        )
        return [float(part.sum()) for part in values.split([len(pair) for pair in asked])]

    @torch.no_grad()
    def logprobs(
        self,
        ids: Tensor,
        attention_mask: Tensor | None,
        rows: Tensor,
        cols: Tensor,
        targets: Tensor,
    ) -> Tensor:
        """log p(targets[m]) [M] from the model's logits at (rows[m], cols[m])."""
        logits = self.logits(ids, attention_mask, rows, cols).float()
        return logits.log_softmax(dim=1).gather(1, targets[:, None]).squeeze(1)

    def logits(
        self, ids: Tensor, attention_mask: Tensor | None, rows: Tensor, cols: Tensor
    ) -> Tensor:
        """The model's logits [M, V] at (rows[m], cols[m])."""
        mask = None if attention_mask is None else attention_mask.long()
        return self.model(input_ids=ids, attention_mask=mask).logits[rows, cols]


def pad_id(tokenizer: Any) -> int:
    """Any id does where the attention mask hides it."""
    return 0 if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)


def longest_input(model: Any, tokenizer: Any) -> int:
    """Tokens that fit the model, by its configuration and its tokenizer."""
    found = [getattr(model.config, name, None) for name in LENGTHS]
    found.append(tokenizer.model_max_length)
    known = [int(length) for length in found if length and length < UNLIMITED]
    return min(known, default=2048)


def fitting(model: Any, batch_tokens: int) -> int:
    """`batch_tokens`, or fewer where logits of all positions would be above 2 GiB."""
    return max(64, min(batch_tokens, 2**29 // model.config.vocab_size))
