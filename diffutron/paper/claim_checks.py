"""The claims that arithmetic alone checks, from shapes and from the published table."""

from collections.abc import Callable

from diffutron.data.evaluation_sets.places import HUB
from diffutron.paper.published import ACCURACY, AVERAGE

# mmBERT-base: vocabulary, hidden size, layers, intermediate size (all published).
VOCABULARY, HIDDEN, LAYERS, INTERMEDIATE = 256_000, 768, 22, 1152
RANK = 256
CHANCE = {  # share of 100; EXAMS: the mean of 1 / number of choices over its 393 items
    "belebele_tr": 25.0,
    "exams_tr": 23.26,
    "ironytr": 50.0,
    "news_cat": 20.0,
    "mnli_tr": 100 / 3,
    "sts_tr": 100 / 6,
    "xcopa_tr": 50.0,
}
LINEARS = (  # of a layer: inputs, outputs
    (HIDDEN, 3 * HIDDEN),  # attention Wqkv
    (HIDDEN, HIDDEN),  # attention Wo
    (HIDDEN, 2 * INTERMEDIATE),  # MLP Wi, gated
    (INTERMEDIATE, HIDDEN),  # MLP Wo
)


CORPUS_SEQUENCES = 406_000 + 1_600_000  # Wikipedia as the paper rounds it, and the sample it names

ADAPTER = LAYERS * sum(RANK * (inputs + outputs) for inputs, outputs in LINEARS)
"""LoRA adds rank x (inputs + outputs) to every linear of the trunk."""

BACKBONE = (
    VOCABULARY * HIDDEN  # embedding, tied to the decoder
    + LAYERS * sum(inputs * outputs for inputs, outputs in LINEARS)  # without biases
    + HIDDEN * (2 * LAYERS - 1 + 2)  # norms; the first layer has none before its attention
    + (HIDDEN * HIDDEN + HIDDEN)  # head
    + VOCABULARY  # bias of the decoder
)

AVERAGES = [sum(scores) / len(ACCURACY) for scores in zip(*ACCURACY.values(), strict=True)]
"""The mean over the tasks of each system, computed from the published scores."""


def tasks_above_chance() -> float:
    """Second-stage scores above chance at 0.05: exact binomial tests, Holm-adjusted over seven."""
    from scipy import stats

    p_values = []
    for task, scores in ACCURACY.items():
        items, chance = HUB[task].rows or 0, CHANCE[task] / 100
        correct = round(scores[1] * items / 100)
        p_values.append(stats.binomtest(correct, items, chance, alternative="greater").pvalue)
    above = 0
    for rank, p_value in enumerate(sorted(p_values)):
        if (len(p_values) - rank) * p_value >= 0.05:
            break
        above += 1
    return float(above)


CHECKS: dict[str, Callable[[], float]] = {
    "lora_parameters": lambda: ADAPTER / 1e6,
    "lora_share": lambda: 100 * ADAPTER / (BACKBONE + ADAPTER),
    "backbone_parameters": lambda: BACKBONE / 1e6,
    "corpus_sequences": lambda: CORPUS_SEQUENCES,
    "average_stage_1": lambda: AVERAGES[0],
    "average_stage_2": lambda: AVERAGES[1],
    "gap_of_other_averages": lambda: max(
        abs(found - said) for found, said in zip(AVERAGES[2:], AVERAGE[2:], strict=True)
    ),
    "mean_chance": lambda: sum(CHANCE.values()) / len(CHANCE),
    "tasks_above_chance": tasks_above_chance,
}
