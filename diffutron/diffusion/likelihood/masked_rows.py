"""Batches of noisy rows: what every likelihood estimate asks of the model.

Shapes: R rows of a batch, L the longest of them, M scored tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffutron.diffusion import LogprobFn

Item = tuple[Sequence[int], Sequence[int]]  # context ids, continuation ids


def pad_rows(rows: Sequence[Tensor], *, pad_token_id: int) -> tuple[Tensor, Tensor | None]:
    """Rows [L_i] as ids [R, L] padded on the right, and their attention mask (None if all have
    one length).
    """
    ids = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=pad_token_id)
    lengths = torch.tensor([len(row) for row in rows], device=ids.device)
    if bool((lengths == ids.shape[1]).all()):
        return ids, None
    return ids, torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]


def batched_logprobs(
    logprob_fn: LogprobFn,
    rows: Sequence[Tensor],
    owner: Tensor,
    cols: Tensor,
    targets: Tensor,
    *,
    pad_token_id: int,
    batch_rows: int,
    device: torch.device | str = "cpu",
) -> Tensor:
    """log p of M tokens, float64 [M] on the CPU: token m is `targets[m]` at position `cols[m]` of
    `rows[owner[m]]`.

    Rows run through the model sorted by length, `batch_rows` at a time; the result is in the
    order asked.
    """
    result = torch.zeros(len(targets), dtype=torch.float64)
    if not rows:
        return result
    by_length = sorted(range(len(rows)), key=lambda r: len(rows[r]))
    rank = torch.empty(len(rows), dtype=torch.int64)
    rank[torch.tensor(by_length)] = torch.arange(len(rows))
    place = rank[owner]
    order = place.argsort(stable=True)
    place = place[order]
    for start in range(0, len(rows), batch_rows):
        batch = [rows[r] for r in by_length[start : start + batch_rows]]
        low, high = torch.searchsorted(place, torch.tensor([start, start + len(batch)]))
        mine = order[low:high]
        if not len(mine):
            continue
        ids, attention_mask = pad_rows(batch, pad_token_id=pad_token_id)
        logprobs = logprob_fn(
            ids.to(device),
            None if attention_mask is None else attention_mask.to(device),
            (place[low:high] - start).to(device),
            cols[mine].to(device),
            targets[mine].to(device),
        )
        result[mine] = logprobs.to("cpu", torch.float64)
    if bool(result.isnan().any()):
        raise ValueError("logprob_fn: the model returned NaN logits")
    return result


class MaskedRows:
    """Noisy rows to evaluate, equal ones once, and the tokens asked of them."""

    def __init__(self, mask_token_id: int) -> None:
        self.mask_token_id = mask_token_id
        self.rows: list[Tensor] = []
        self.known: dict[tuple[tuple[int, ...], bytes], int] = {}
        self.asked: list[Tensor] = []  # [3, n]: row, column, target
        self.num_asked = 0

    def add(
        self,
        context: Sequence[int],
        continuation: Sequence[int],
        masked: Tensor,
        ending: Sequence[int] = (),
    ) -> tuple[Tensor, slice]:
        """Asks for every masked token; `ending` stands behind the continuation in each row.

        Which row of `masked` each belongs to, and where the answers will be.
        """
        clean = torch.tensor(continuation)
        noisy = torch.where(masked, self.mask_token_id, clean)
        shared = tuple(context)
        head = torch.tensor(shared, dtype=torch.int64)
        tail = torch.tensor(ending, dtype=torch.int64)
        place: list[int] = []
        for row in torch.cat([noisy, tail.expand(len(noisy), -1)], dim=1):
            key = (shared, row.numpy().tobytes())
            if key not in self.known:
                self.known[key] = len(self.rows)
                self.rows.append(torch.cat([head, row]))
            place.append(self.known[key])
        owner, token = masked.nonzero(as_tuple=True)
        self.asked.append(
            torch.stack([torch.tensor(place)[owner], len(shared) + token, clean[token]])
        )
        start, self.num_asked = self.num_asked, self.num_asked + len(owner)
        return owner, slice(start, self.num_asked)

    def logprobs(
        self,
        logprob_fn: LogprobFn,
        *,
        pad_token_id: int,
        batch_rows: int,
        device: torch.device | str,
    ) -> Tensor:
        """The answers, float64 [num_asked], in the order asked."""
        if not self.asked:
            return torch.zeros(0, dtype=torch.float64)
        owner, cols, targets = torch.cat(self.asked, dim=1)
        return batched_logprobs(
            logprob_fn,
            self.rows,
            owner,
            cols,
            targets,
            pad_token_id=pad_token_id,
            batch_rows=batch_rows,
            device=device,
        )
