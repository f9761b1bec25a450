"""The language-model head of a ModernBERT, computed only where it is needed.

With a vocabulary of 256 000 the head is 64 % of a forward pass and its logits are gigabytes: so
the encoder runs alone, the head sees selected positions, and the loss goes through the vocabulary
in chunks of rows that are never kept. The mask token is left out of every softmax: it is no token
of the data.

Shapes: B batch, L length, H hidden size, V vocabulary, N selected positions, M scored tokens.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from diffutron.diffusion import LogitsFn, LogprobFn
from diffutron.modeling.fused_cross_entropy import (
    FusedNLL,
    chunk_logits,
    log_normalizer_,
    logits_room,
)
from diffutron.modeling.matmul import matmul, use_fast_matmul, wide

# Positions whose logits over the whole vocabulary exist at a time (2 GiB of 256 000 on a GPU).
CHUNK_ROWS = {"cpu": 128, "cuda": 2048}
CHUNK_ROWS_BF16 = 384  # on a CPU whose products in bf16 are compiled by shape


def unwrap_masked_lm(model: nn.Module) -> Any:
    """The `ModernBertForMaskedLM` itself, whether or not PEFT adapters are attached.

    ValueError without a head.
    """
    inner: Any = model
    if hasattr(inner, "get_base_model"):  # a PeftModel
        inner = inner.get_base_model()
    missing = [name for name in ("model", "head", "decoder") if not hasattr(inner, name)]
    if missing:
        raise ValueError(
            f"model: {type(inner).__name__} has no language-model head ({', '.join(missing)} "
            "missing); need a ModernBertForMaskedLM checkpoint"
        )
    return inner


def run_encoder(
    model: nn.Module,
    input_ids: Tensor,
    attention_mask: Tensor | Mapping[str, Tensor | None] | None = None,
    position_ids: Tensor | None = None,
    **kernel: Any,
) -> Tensor:
    """Hidden states [B, L, H] of the encoder, without the head.

    attention_mask: None, [B, L] (nonzero = a real token), or a bool [B, 1, L, L] for each layer
    kind (True = may attend) for several samples packed in a row; `position_ids` then restart at
    each sample. kernel: what the attention in use takes besides (`modeling.attention`).
    """
    mask: Any = attention_mask
    return (
        unwrap_masked_lm(model)
        .model(input_ids=input_ids, attention_mask=mask, position_ids=position_ids, **kernel)
        .last_hidden_state
    )


def head_logits(model: nn.Module, hidden: Tensor, *, mask_token_id: int) -> Tensor:
    """Logits [N, V] in float32 or wider for hidden states [N, H]; -inf at the mask token."""
    lm = unwrap_masked_lm(model)
    logits = matmul(lm.head(hidden), lm.decoder.weight.t())
    if lm.decoder.bias is not None:
        logits += lm.decoder.bias
    logits[:, mask_token_id] = -math.inf
    return logits


def head_nll(
    model: nn.Module,
    hidden: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    *,
    mask_token_id: int,
) -> Tensor:
    """-log p(target) [N] for hidden states [N, H], the mask token excluded; float32 for
    half-precision models.

    Differentiable in `hidden` and in the head's trainable parameters. The forward pass computes
    the gradient chunk by chunk, so that at most `CHUNK_ROWS` x V logits exist at a time. Give
    `weights` [N] when the loss will be proportional to sum(weights x nll): a trainable decoder
    then gets its gradient in the same pass; any other use of the result stays right and costs one
    more pass over the logits in the backward.
    """
    lm = unwrap_masked_lm(model)
    features = lm.head(hidden)
    chunk_rows = CHUNK_ROWS["cuda" if features.is_cuda else "cpu"]
    if features.device.type == "cpu" and features.dtype == torch.bfloat16:
        chunk_rows = CHUNK_ROWS_BF16
    else:  # of equal size: a short last one is slow
        chunk_rows = -(-len(targets) // max(1, -(-len(targets) // chunk_rows)))
    return FusedNLL.apply(
        features,
        lm.decoder.weight,
        lm.decoder.bias,
        targets,
        weights,
        mask_token_id,
        chunk_rows,
        torch.is_grad_enabled(),
    )  # type: ignore[return-value]


def logits_fn(model: nn.Module, *, mask_token_id: int) -> LogitsFn:
    """The model as the sampler calls it."""
    use_fast_matmul(model)

    @torch.no_grad()
    def fn(ids: Tensor, attention_mask: Tensor | None, positions: Tensor) -> Tensor:
        hidden = run_encoder(model, ids, attention_mask)
        return head_logits(model, hidden[positions], mask_token_id=mask_token_id)

    return fn


def logprob_fn(model: nn.Module, *, mask_token_id: int) -> LogprobFn:
    """The model as the likelihoods call it, one call at a time.

    Several targets at one position (the choices of a question) share its row of the head. The
    memory of the logits is kept from call to call.
    """
    use_fast_matmul(model)
    decoder = unwrap_masked_lm(model).decoder
    room = logits_room(decoder.weight, CHUNK_ROWS["cpu"])

    @torch.no_grad()
    def fn(
        ids: Tensor, attention_mask: Tensor | None, rows: Tensor, cols: Tensor, targets: Tensor
    ) -> Tensor:
        hidden = run_encoder(model, ids, attention_mask).flatten(0, 1)
        places, owner = torch.unique(rows * ids.shape[1] + cols, return_inverse=True)
        features = unwrap_masked_lm(model).head(hidden[places])
        size = CHUNK_ROWS["cuda" if features.is_cuda else "cpu"]
        order = owner.argsort(stable=True)
        logprobs = torch.empty(len(targets), dtype=wide(features.dtype), device=ids.device)
        borders = torch.arange(0, len(places) + size, size, device=ids.device)
        ends = torch.searchsorted(owner[order], borders).tolist()
        for chunk, (start, end) in enumerate(zip(ends, ends[1:], strict=False)):
            first = chunk * size
            logits = chunk_logits(
                features[first : first + size], decoder.weight, decoder.bias, mask_token_id, room
            )
            mine = order[start:end]
            row = owner[mine] - first
            wanted = logits[row, targets[mine]]
            logprobs[mine] = wanted - log_normalizer_(logits)[row]
        return logprobs

    return fn
