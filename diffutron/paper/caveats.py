"""What in this run cannot be compared with the published system, and why."""

from dataclasses import dataclass

from diffutron.config.params import Params


@dataclass(frozen=True)
class Caveat:
    subject: str
    reason: str


def caveats(params: Params) -> list[Caveat]:
    """What a reader must know before setting a number of this run beside another one."""
    found = [*_data(params), *_model(params), *_measurement(params), *_always()]
    return [Caveat(subject, reason) for subject, reason in found]


def _data(params: Params) -> list[tuple[str, str]]:
    found = []
    sources = {
        "corpus": params.corpus.source,
        "instructions": params.instructions.source,
        "evaluation sets": params.evaluate.source,
    }
    if sample := [name for name, source in sources.items() if source == "sample"]:
        found.append(
            (
                f"Built-in sample: {', '.join(sample)}",
                "Sentences made by a generator, in the schemas of the published sets but not with "
                "their content. Such an accuracy shows that the chain learns; it says nothing "
                "about Turkish at large and does not compare with a published accuracy.",
            )
        )
    if local := [name for name, source in sources.items() if source == "local"]:
        found.append(
            (
                f"Local files: {', '.join(local)}",
                "Stand-ins from a folder, fixed by its digest. They are other items than the "
                "published sets hold, so equal accuracies would not mean equal models.",
            )
        )
    return found


def _model(params: Params) -> list[tuple[str, str]]:
    found = []
    if params.backbone.source == "scratch":
        shape = f"{params.backbone.num_layers} layers, width {params.backbone.hidden_size}"
        found.append(
            (
                "Backbone from scratch",
                f"A ModernBERT of {shape}, trained here in minutes or hours; the published models "
                "start from mmBERT-base (22 layers, width 768, 307 M parameters).",
            )
        )
    if params.tokenizer.source == "scratch":
        found.append(
            (
                "Own tokenizer",
                "Nats a token and masked-token perplexity depend on how a tokenizer cuts words. "
                "Across tokenizers only bits a byte compare.",
            )
        )
    if params.pretrain.lora.rank != 256:
        found.append(
            (
                f"LoRA rank {params.pretrain.lora.rank}",
                "The published pre-training uses rank 256 on every linear of the trunk "
                "(14.94 % of base and adapter).",
            )
        )
    return found


def _measurement(params: Params) -> list[tuple[str, str]]:
    found = []
    if params.evaluate.max_items is not None:
        found.append(
            (
                f"At most {params.evaluate.max_items} items a task",
                "That many for backbone, merged model and phase 1"
                + (
                    "; phase 2 is scored on all items. Compare models by the intervals."
                    if params.evaluate.max_items_final is None
                    else f", and {params.evaluate.max_items_final} for phase 2."
                ),
            )
        )
    return [*found, *_objectives(params)]


def _objectives(params: Params) -> list[tuple[str, str]]:
    """Losses that are not the likelihood bound."""
    found = []
    for number, section in ((1, params.instruct_phase1), (2, params.instruct_phase2)):
        low, high = section.mask_rate
        if (low, high) != (0.0, 1.0):
            found.append(
                (
                    f"Phase {number} hides {100 * low:g} to {100 * high:g} % of an answer",
                    "Its loss is a weighted variant, not the likelihood bound; its level does not "
                    "compare with the other losses.",
                )
            )
    return found


def _always() -> list[tuple[str, str]]:
    return [
        (
            "One seed",
            "The intervals cover the choice of items, not the luck of a training run. Another seed "
            "moves every number.",
        ),
        (
            "Running text after instruction tuning",
            "Both phases learn answers alone, and forget how running text goes. Their bits a byte "
            "and perplexities on held-out text tell how much, not how well they answer.",
        ),
        (
            "Seven tests a model",
            "The p-values are not corrected for the number of tasks; that is why a task counts as "
            "learned only below 0.001.",
        ),
        (
            "Perplexity 3.42 -> 2.75",
            "The mask rate and the pooling behind the published figures are not published, so ours "
            "stand beside them by mask rate and are not a reproduction.",
        ),
        (
            "Scoring protocol",
            "Ours is corrected: no end token stands between question and choice, and no token of "
            "a choice is lost. The published scores come from a harness that does otherwise.",
        ),
        (
            "Settings that are not published",
            "Optimizer, batch and length of the continual pre-training, and those of phase 2, are "
            "our own choices, documented in the parameter profiles.",
        ),
    ]
