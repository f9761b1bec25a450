"""The language-model head of a ModernBERT, computed only where it is needed.

With a vocabulary of 256 000 the head is 64 % of a forward pass and its logits are gigabytes: so
the trunk runs alone, the head sees selected positions, and the loss goes through the vocabulary
in chunks of rows that are never kept. The mask token is left out of every softmax: it is no token
of the data.

Shapes: B batch, L length, H hidden size, V vocabulary, N selected positions, M scored tokens.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from diffutron.modeling.cuda_loss import cuda_kernel, kernel_nll

MANY_ROWS = 64  # from which the decoder is the faster left factor of a product on a CPU

LogitsFn = Callable[[Tensor, Tensor | None, Tensor], Tensor]
LogprobFn = Callable[[Tensor, Tensor | None, Tensor, Tensor, Tensor], Tensor]


def masked_lm(model: nn.Module) -> Any:
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


def trunk(
    model: nn.Module,
    input_ids: Tensor,
    attention_mask: Tensor | Mapping[str, Tensor | None] | None = None,
    position_ids: Tensor | None = None,
    **kernel: Any,
) -> Tensor:
    """Hidden states [B, L, H] of the encoder, without the head.

    attention_mask: None, [B, L] (nonzero = a real token), or a bool [B, 1, L, L] (True = may
    attend) for several samples packed in a row; `position_ids` then restart at each sample. A 4D
    mask is cut to the window for the sliding layers here, as transformers would hand it to both
    layer kinds as it is. A mapping gives a 4D mask for each layer kind. kernel: what the
    attention in use takes besides (`modeling.attention`).
    """
    encoder = masked_lm(model).model
    mask: Any = attention_mask
    if isinstance(attention_mask, Tensor) and attention_mask.dim() == 4:
        mask = _layer_masks(attention_mask, encoder.config)
    return encoder(
        input_ids=input_ids, attention_mask=mask, position_ids=position_ids, **kernel
    ).last_hidden_state


def _layer_masks(attention_mask: Tensor, config: Any) -> dict[str, Tensor]:
    place = torch.arange(attention_mask.shape[-1], device=attention_mask.device)
    window = (place[:, None] - place[None, :]).abs() <= config.sliding_window
    masks = {"full_attention": attention_mask, "sliding_attention": attention_mask & window}
    if (
        config._attn_implementation == "eager"
    ):  # adds its mask to the scores instead of selecting by it
        return {kind: torch.where(mask, 0.0, -math.inf) for kind, mask in masks.items()}
    return masks


def head_logits(model: nn.Module, hidden: Tensor, *, mask_token_id: int) -> Tensor:
    """Logits [N, V] in float32 or wider for hidden states [N, H]; -inf at the mask token."""
    lm = masked_lm(model)
    logits = _product(lm.head(hidden), lm.decoder.weight.t())
    if lm.decoder.bias is not None:
        logits = logits + lm.decoder.bias
    return logits.index_fill(1, torch.tensor([mask_token_id], device=logits.device), -math.inf)


def head_nll(
    model: nn.Module,
    hidden: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    *,
    mask_token_id: int,
    chunk_rows: int = 128,
) -> Tensor:
    """-log p(target) [N] for hidden states [N, H], the mask token excluded; float32 for
    half-precision models.

    Differentiable in `hidden` and in the head's trainable parameters. The forward pass computes
    the gradient chunk by chunk, so that at most `chunk_rows` x V logits exist at a time. Give
    `weights` [N] when the loss will be proportional to sum(weights x nll): a trainable decoder
    then gets its gradient in the same pass; any other use of the result stays right and costs one
    more pass over the logits in the backward. In half precision on a GPU cut-cross-entropy does
    it, where it is installed (`modeling.cuda_loss`).
    """
    lm = masked_lm(model)
    features = lm.head(hidden)
    if features.is_cuda and features.dtype != torch.float32 and (kernel := cuda_kernel()):
        head = (features, lm.decoder.weight, lm.decoder.bias, targets)  # cuda only
        return kernel_nll(kernel, *head, mask_token_id=mask_token_id)  # cuda only
    num_chunks = -(-len(targets) // chunk_rows)
    return _FusedNLL.apply(
        features,
        lm.decoder.weight,
        lm.decoder.bias,
        targets,
        weights,
        mask_token_id,
        -(-len(targets) // max(1, num_chunks)),  # of equal size: a short last one is slow
        torch.is_grad_enabled(),
    )  # type: ignore[return-value]


def logits_fn(model: nn.Module, *, mask_token_id: int) -> LogitsFn:
    """`fn(ids [R, L], attention_mask [R, L] or None, positions bool [R, L]) -> logits [N, V]`,
    row-major.
    """

    @torch.no_grad()
    def fn(ids: Tensor, attention_mask: Tensor | None, positions: Tensor) -> Tensor:
        hidden = trunk(model, ids, attention_mask)
        return head_logits(model, hidden[positions], mask_token_id=mask_token_id)

    return fn


def logprob_fn(model: nn.Module, *, mask_token_id: int, chunk_rows: int = 128) -> LogprobFn:
    """`fn(ids [R, L], attention_mask [R, L] or None, rows [M], cols [M], targets [M]) -> log p
    [M]`.

    Several targets at one position (the choices of a question) share its row of the head.
    """

    @torch.no_grad()
    def fn(
        ids: Tensor, attention_mask: Tensor | None, rows: Tensor, cols: Tensor, targets: Tensor
    ) -> Tensor:
        lm = masked_lm(model)
        hidden = trunk(model, ids, attention_mask).flatten(0, 1)
        places, owner = torch.unique(rows * ids.shape[1] + cols, return_inverse=True)
        features = lm.head(hidden[places])
        order = owner.argsort(stable=True)
        logprobs = torch.empty(len(targets), dtype=_wide(features.dtype), device=ids.device)
        ends = torch.searchsorted(
            owner[order], torch.arange(0, len(places) + chunk_rows, chunk_rows, device=ids.device)
        ).tolist()
        for chunk, (start, end) in enumerate(zip(ends, ends[1:], strict=False)):
            first = chunk * chunk_rows
            logits = _chunk_logits(
                features[first : first + chunk_rows],
                lm.decoder.weight,
                lm.decoder.bias,
                mask_token_id,
            )
            mine = order[start:end]
            row = owner[mine] - first
            logprobs[mine] = logits[row, targets[mine]] - logits.logsumexp(dim=1)[row]
        return logprobs

    return fn


class _FusedNLL(torch.autograd.Function):
    """Cross-entropy over `features @ weight.T + bias`, its gradient computed in the forward
    pass.
    """

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        loss_weights: Tensor | None,
        mask_token_id: int,
        chunk_rows: int,
        grad_enabled: bool,
    ) -> Tensor:
        needs_features, needs_weight, needs_bias = (
            grad_enabled and needed for needed in ctx.needs_input_grad[:3]
        )
        nll = torch.empty(len(targets), dtype=_wide(features.dtype), device=features.device)
        d_features = torch.empty_like(features) if needs_features else None
        fused = (needs_weight or needs_bias) and loss_weights is not None
        totals = _DecoderGradient(weight) if fused else None
        for start in range(0, len(targets), chunk_rows):
            part = slice(start, start + chunk_rows)
            logits = _chunk_logits(features[part], weight, bias, mask_token_id)
            target_logits = logits.gather(1, targets[part, None]).squeeze(1)
            if not (needs_features or fused):
                nll[part] = logits.logsumexp(dim=1) - target_logits
                continue
            lse = _softmax_(logits)
            nll[part] = lse - target_logits
            logits[torch.arange(len(logits), device=logits.device), targets[part]] -= 1
            if d_features is not None:
                d_features[part] = logits.to(weight.dtype) @ weight
            if totals is not None and loss_weights is not None:
                totals.add(logits, features[part], loss_weights[part])
        ctx.save_for_backward(features, weight, bias, targets, loss_weights, d_features)
        ctx.totals, ctx.mask_token_id, ctx.chunk_rows = totals, mask_token_id, chunk_rows
        return nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        (grad,) = grad_outputs
        features, weight, bias, targets, loss_weights, d_features = ctx.saved_tensors
        if d_features is not None:
            d_features = d_features * grad[:, None].to(d_features.dtype)
        d_weight = d_bias = None
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            totals: _DecoderGradient | None = ctx.totals
            scale = _proportion(grad, loss_weights) if totals is not None else None
            if totals is None or scale is None:
                scale, totals = torch.ones((), device=grad.device), _DecoderGradient(weight)
                for start in range(0, len(targets), ctx.chunk_rows):
                    part = slice(start, start + ctx.chunk_rows)
                    logits = _chunk_logits(features[part], weight, bias, ctx.mask_token_id)
                    _softmax_(logits)
                    logits[torch.arange(len(logits), device=logits.device), targets[part]] -= 1
                    totals.add(logits, features[part], grad[part])
            d_weight = (totals.weight * scale).to(weight.dtype)
            if bias is not None:
                d_bias = (totals.bias * scale).to(bias.dtype)
        return d_features, d_weight, d_bias, None, None, None, None, None


class _DecoderGradient:
    """Sums of the decoder's gradients over the chunks, in float32 or wider."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = torch.zeros_like(weight, dtype=_wide(weight.dtype))
        self.bias = torch.zeros(len(weight), dtype=_wide(weight.dtype), device=weight.device)

    def add(self, d_logits: Tensor, features: Tensor, loss_weights: Tensor) -> None:
        d_logits = d_logits * loss_weights[:, None].to(d_logits.dtype)
        self.weight.addmm_(d_logits.t(), features.to(d_logits.dtype))
        self.bias.add_(d_logits.sum(dim=0))


def _proportion(grad: Tensor, loss_weights: Tensor) -> Tensor | None:
    """The factor c with grad = c x loss_weights, or None if there is none."""
    weights = loss_weights.to(grad.dtype)
    c = torch.dot(grad, weights) / torch.dot(weights, weights).clamp_min(1e-30)
    return c if torch.allclose(grad, c * weights, rtol=1e-5, atol=0) else None


def _chunk_logits(
    features: Tensor, weight: Tensor, bias: Tensor | None, mask_token_id: int
) -> Tensor:
    if features.is_cuda or len(features) < MANY_ROWS:
        logits = _product(features, weight.t())
    else:
        logits = _product(weight, features.t()).t()
    if bias is not None:
        logits += bias
    logits[:, mask_token_id] = -math.inf
    return logits


def _softmax_(logits: Tensor) -> Tensor:
    """Turns logits [n, V] into probabilities in place; returns the log of the normaliser [n]."""
    highest = logits.amax(dim=1, keepdim=True)
    total = logits.sub_(highest).exp_().sum(dim=1, keepdim=True)
    logits.div_(total)
    return (highest + total.log()).squeeze(1)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """left @ right, accumulated and returned in float32 or wider."""
    if (
        left.is_cuda
        and left.dtype in (torch.bfloat16, torch.float16)
        and not torch.is_grad_enabled()
    ):
        return torch.mm(left, right, out_dtype=torch.float32)  # cuda only
    return (left @ right).to(_wide(left.dtype))


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32
