"""Parameters and bytes of a model, before it exists.

Parameters are counted on the meta device, which holds no memory; the memory of training follows
the ZeRO paper (Rajbhandari et al., arXiv 1910.02054, section 5), what the ranks send each other its
section 7 and what DeepSpeed was seen to send (docs/scaling.md).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffutron.config.data_params import TokenizerParams
from diffutron.config.params import Params
from diffutron.config.training_params import LoraParams, TrainingParams

if TYPE_CHECKING:
    from torch import nn
    from transformers import ModernBertConfig

HUB_VOCABULARY = {"jhu-clsp/mmBERT-base": 256_000}
TRIM_ENTRIES = 1.11  # for each token asked for: 26 624 of mmBERT's for 24 000 (docs/performance.md)
HEAD_CHUNK = 128  # rows of logits that exist at a time
KEPT_WHOLE = 100_000  # elements; ZeRO-3 of DeepSpeed does not cut up smaller weights


@dataclass(frozen=True)
class Shape:
    """The models of a run, without memory, and what was counted on them."""

    base: "nn.Module"
    adapted: "nn.Module"
    parameters: int
    matrix_parameters: int  # of the encoder's layers, which Muon may train
    adapter_parameters: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    local_attention: int
    vocab_size: int


def shape_of(params: Params) -> Shape:
    """The encoder of a params file, and its adapters."""
    from diffutron.modeling.encoder import SpecialIds, scratch_config

    vocabulary = params.tokenizer.vocab_size
    if params.tokenizer.source == "hub":  # the published size
        vocabulary = HUB_VOCABULARY.get(params.tokenizer.name, vocabulary)
    if params.tokenizer.trim is not None:
        vocabulary = min(vocabulary, round(TRIM_ENTRIES * params.tokenizer.trim))
    special = SpecialIds(pad=0, eos=1, bos=2, mask=4, vocab_size=vocabulary)
    return shape_from(scratch_config(params.backbone, special), params.pretrain.lora)


def trim_assumptions(tokenizer: TokenizerParams) -> list[str]:
    """What the size of a cut vocabulary rests on."""
    if tokenizer.trim is None:
        return []
    return [f"tokenizer.trim: {TRIM_ENTRIES} entries for each token asked for, as of mmBERT's"]


def shape_from(config: "ModernBertConfig", lora: LoraParams) -> Shape:
    """Build the encoder and its adapters on the meta device and count."""
    import torch
    from transformers.models.modernbert.modeling_modernbert import ModernBertForMaskedLM

    from diffutron.modeling.encoder import count_parameters, encoder_matrices
    from diffutron.modeling.lora import attach_lora

    with torch.device("meta"):
        base, adapted = ModernBertForMaskedLM(config), ModernBertForMaskedLM(config)
    parameters = int(count_parameters(base)["parameters"])
    adapted = attach_lora(adapted, lora, seed=0)
    return Shape(
        base=base,
        adapted=adapted,
        parameters=parameters,
        matrix_parameters=sum(weight.numel() for weight in encoder_matrices(base)),
        adapter_parameters=int(count_parameters(adapted)["trainable"]),
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_layers=config.num_hidden_layers,
        local_attention=config.local_attention,
        vocab_size=config.vocab_size,
    )


def model_state_bytes(
    *, trainable: int, frozen: int, stage: int, ranks: int, weight_bytes: int, by_muon: int = 0
) -> int:
    """Weights, gradients and AdamW's state of one rank (arXiv 1910.02054, section 5 and figure 1).

    by_muon: so many of the trainable weights have one moment instead of two.

    AdamW holds 12 bytes a trainable weight (a float32 copy and two moments); without ZeRO and in
    float32 no copy is needed. Stage 1 divides that by the ranks, stage 2 the gradients as well,
    stage 3 all weights too.
    """
    optimizer = (8 if stage == 0 and weight_bytes == 4 else 12) * trainable - 4 * by_muon
    gradients, weights = weight_bytes * trainable, weight_bytes * (trainable + frozen)
    return round(
        weights / (ranks if stage >= 3 else 1)
        + gradients / (ranks if stage >= 2 else 1)
        + optimizer / (ranks if stage >= 1 else 1)
    )


def whole_and_cut(model: "nn.Module") -> tuple[int, int]:
    """Elements of the weights that ZeRO-3 leaves whole, and of those that it cuts up."""
    sizes = [parameter.numel() for parameter in model.parameters()]
    whole = sum(size for size in sizes if size <= KEPT_WHOLE)
    return whole, sum(sizes) - whole


def communication_bytes(
    *,
    trainable: int,
    whole: int,
    cut: int,
    stage: int,
    ranks: int,
    weight_bytes: int,
    micro_batches: int,
    scatters: bool = False,
) -> int:
    """What one rank sends in an optimizer step, by ring algorithms (arXiv 1910.02054, section 7).

    An all-reduce of M bytes sends 2 (N - 1) / N of them, a gather or a scatter half of that.
    DeepSpeed all-reduces the gradients up to stage 2, from stage 2 on after each micro-batch.
    Stages 1 and 2 gather the new weights once, stage 3 those it leaves `whole` once and those it
    has `cut` for each forward and each backward pass.

    scatters: the back end has a reduce-scatter of its own (NCCL); gloo all-reduces instead.
    """
    reductions = micro_batches if stage >= 2 else 1
    reduced = trainable * reductions * (1 if stage >= 3 and scatters else 2)
    gathered = (0, trainable, trainable, whole + 2 * micro_batches * cut)[stage]
    return round(weight_bytes * (reduced + gathered) * (ranks - 1) / ranks)


def activation_bytes(training: TrainingParams, shape: Shape, *, weight_bytes: int) -> int:
    """What the backward pass of one micro-batch needs, and one chunk of logits with its gradient.

    A ModernBERT layer keeps ten vectors of the width (inputs of two norms and of the three square
    products, queries, keys and values before and after rotation) and four of the MLP's.
    """
    tokens = training.packed_length * training.micro_batch_rows
    layer = 10 * shape.hidden_size + 4 * shape.intermediate_size
    if training.gradient_checkpointing:
        values = tokens * (shape.num_layers * shape.hidden_size + layer)
    else:
        values = tokens * shape.num_layers * layer
    return weight_bytes * values + logits_bytes(shape)


def logits_bytes(shape: Shape) -> int:
    """One chunk of float32 logits and its gradient."""
    return 2 * 4 * HEAD_CHUNK * shape.vocab_size
