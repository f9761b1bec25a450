"""The claims that arithmetic alone checks, from shapes and from the published table."""

from collections.abc import Callable

from diffutron.paper.published import ACCURACY, AVERAGE, SYSTEMS, TASK_ITEMS

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


def _adapter() -> int:
    """LoRA adds rank x (inputs + outputs) to every linear of the trunk."""
    return LAYERS * sum(RANK * (inputs + outputs) for inputs, outputs in LINEARS)


def _backbone() -> int:
    """Embedding (tied to the decoder), trunk, head and decoder bias, without biases in linears."""
    trunk = LAYERS * sum(inputs * outputs for inputs, outputs in LINEARS)
    norms = HIDDEN * (2 * LAYERS - 1 + 2)  # the first layer has none before its attention
    head = HIDDEN * HIDDEN + HIDDEN
    return VOCABULARY * HIDDEN + trunk + norms + head + VOCABULARY


def lora_parameters() -> float:
    return _adapter() / 1e6


def lora_share() -> float:
    return 100 * _adapter() / (_backbone() + _adapter())


def backbone_parameters() -> float:
    return _backbone() / 1e6


def corpus_sequences() -> float:
    """Wikipedia as rounded in the paper, and the sample that it names."""
    return 406_000 + 1_600_000


def _average(column: int) -> float:
    return sum(scores[column] for scores in ACCURACY.values()) / len(ACCURACY)


def average_stage_1() -> float:
    return _average(0)


def average_stage_2() -> float:
    return _average(1)


def gap_of_other_averages() -> float:
    return max(abs(_average(n) - AVERAGE[n]) for n in range(2, len(SYSTEMS)))


def mean_chance() -> float:
    return sum(CHANCE.values()) / len(CHANCE)


def tasks_above_chance() -> float:
    """Second-stage scores above chance at 0.05: exact binomial tests, Holm-adjusted over seven."""
    from scipy import stats

    tail = {
        task: stats.binomtest(
            round(ACCURACY[task][1] * TASK_ITEMS[task] / 100),
            TASK_ITEMS[task],
            CHANCE[task] / 100,
            alternative="greater",
        ).pvalue
        for task in ACCURACY
    }
    above = 0
    for rank, p_value in enumerate(sorted(tail.values())):
        if (len(tail) - rank) * p_value >= 0.05:
            break
        above += 1
    return float(above)


CHECKS: dict[str, Callable[[], float]] = {
    check.__name__: check
    for check in (
        lora_parameters,
        lora_share,
        backbone_parameters,
        corpus_sequences,
        average_stage_1,
        average_stage_2,
        gap_of_other_averages,
        mean_chance,
        tasks_above_chance,
    )
}
