"""What in this run cannot be compared with the published system, and why."""

from collections.abc import Iterator
from dataclasses import dataclass

from diffutron.config.params import Params
from diffutron.config.training_params import TrainingParams
from diffutron.paper.claim_checks import RANK
from diffutron.paper.published import TRAINABLE_SHARE


@dataclass(frozen=True)
class Caveat:
    subject: str
    reason: str


def caveats(params: Params) -> list[Caveat]:
    """What a reader must know before setting a number of this run beside another one."""
    return [*_data(params), *_model(params), *_measurement(params), *ALWAYS]


def _data(params: Params) -> Iterator[Caveat]:
    sources = {
        "corpus": params.corpus.source,
        "instructions": params.instructions.source,
        "evaluation sets": params.evaluate.source,
    }
    if sample := [name for name, source in sources.items() if source == "sample"]:
        yield Caveat(
            f"Built-in sample: {', '.join(sample)}",
            "Sentences made by a generator, in the schemas of the published sets but not with "
            "their content. Such an accuracy shows that the chain learns; it says nothing "
            "about Turkish at large and does not compare with a published accuracy.",
        )
    if local := [name for name, source in sources.items() if source == "local"]:
        yield Caveat(
            f"Local files: {', '.join(local)}",
            "Stand-ins from a folder, fixed by its digest. They are other items than the "
            "published sets hold, so equal accuracies would not mean equal models.",
        )


def _model(params: Params) -> Iterator[Caveat]:
    if params.backbone.source == "scratch":
        shape = f"{params.backbone.num_layers} layers, width {params.backbone.hidden_size}"
        yield Caveat(
            "Backbone from scratch",
            f"A ModernBERT of {shape}, trained here in minutes or hours; the published models "
            "start from mmBERT-base (22 layers, width 768, 307 M parameters).",
        )
    if params.tokenizer.source == "scratch":
        yield Caveat(
            "Own tokenizer",
            "Nats a token and masked-token perplexity depend on how a tokenizer cuts words. "
            "Across tokenizers only bits a byte compare.",
        )
    if params.pretrain.lora.rank != RANK:
        yield Caveat(
            f"LoRA rank {params.pretrain.lora.rank}",
            f"The published pre-training uses rank {RANK} on every linear of the trunk "
            f"({100 * TRAINABLE_SHARE:.2f} % of base and adapter).",
        )


def _measurement(params: Params) -> Iterator[Caveat]:
    most, final = params.evaluate.max_items, params.evaluate.max_items_final
    if most is not None:
        rest = "; phase 2 is scored on all items. Compare models by the intervals."
        yield Caveat(
            f"At most {most} items a task",
            "That many for backbone, merged model and phase 1"
            + (rest if final is None else f", and {final} for phase 2."),
        )
    if params.evaluate.tuned_format == "chat":
        yield Caveat(
            "Phase 1 and 2 asked in a chat",
            "The question stands in the chat format that they were tuned in, and all choices of a "
            "question fill a canvas of one length. Base and merged model read plain text.",
        )
    trained: list[tuple[str, TrainingParams, list[str]]] = [
        ("Pre-training", params.pretrain.training, []),
        ("Phase 1", params.instruct_phase1.training, params.instruct_phase1.loss_parts),
        ("Phase 2", params.instruct_phase2.training, params.instruct_phase2.loss_parts),
    ]
    if (params.backbone.source, params.backbone.objective) == ("scratch", "diffusion"):
        trained.insert(0, ("Backbone", params.backbone.training, []))
    for stage, training, others in trained:
        low, high = training.mask_rates.bounds
        parts = [] if (low, high) == (0.0, 1.0) else [f"{100 * low:g} to {100 * high:g} % hidden"]
        if parts := parts + others:
            yield Caveat(
                f"{stage}: {', '.join(parts)}",
                "Its loss is a weighted variant, not the likelihood bound; its level does not "
                "compare with the other losses.",
            )


ALWAYS = (
    Caveat(
        "One seed",
        "The intervals cover the choice of items, not the luck of a training run. Another seed "
        "moves every number.",
    ),
    Caveat(
        "Running text after instruction tuning",
        "Both phases learn answers alone, and forget how running text goes. Their bits a byte "
        "and perplexities on held-out text tell how much, not how well they answer.",
    ),
    Caveat(
        "A test for each task",
        "The p-values are not corrected for the number of tasks; that is why a task counts as "
        "learned only below 0.001.",
    ),
    Caveat(
        "Perplexity 3.42 -> 2.75",
        "The mask rate and the pooling behind the published figures are not published, so ours "
        "stand beside them by mask rate and are not a reproduction.",
    ),
    Caveat(
        "Scoring protocol",
        "Ours is corrected: no end token stands between question and choice, and no token of "
        "a choice is lost. The published scores come from a harness that does otherwise.",
    ),
    Caveat(
        "Settings that are not published",
        "Optimizer, batch and length of the continual pre-training, and those of phase 2, are "
        "our own choices, documented in the parameter profiles.",
    ),
)
