"""Numbers of the published Diffutron material (arXiv 2603.20466 and the model cards), never ours.

They stand beside what a run measured, marked *published*; none of them enters a result.
"""

SYSTEMS = (
    "Diffutron-1st (0.3B)", "Diffutron-2nd (0.3B)", "TURNA (1.1B)", "Kumru (2B)", "Kanarya (2B)",
    "Llama-3.2 (3B)", "Trendyol (7B)", "Aya-101 (13B)",
)  # fmt: skip

ACCURACY = {
    "belebele_tr": (22.22, 27.00, 22.56, 29.00, 28.11, 55.78, 36.22, 22.89),
    "exams_tr": (25.95, 27.74, 23.66, 30.03, 30.03, 26.21, 28.50, 22.90),
    "ironytr": (50.67, 52.00, 48.33, 51.00, 50.00, 50.17, 50.00, 52.17),
    "news_cat": (23.20, 32.40, 32.80, 26.40, 66.80, 64.00, 81.20, 20.00),
    "mnli_tr": (33.29, 32.81, 34.94, 36.42, 33.40, 34.76, 35.19, 27.90),
    "sts_tr": (17.77, 18.78, 14.21, 11.75, 12.91, 12.91, 15.52, 16.97),
    "xcopa_tr": (53.80, 52.00, 55.80, 54.00, 64.20, 54.60, 61.00, 59.60),
}
"""Accuracy x 100 of each system, in the order of `SYSTEMS`."""

CORPUS = (2_005_712, 1_780_000_000)
"""Documents and bytes of the corpus, from the card of the data set."""

PHASE_2_ROWS = 2_500_000

AVERAGE = (32.41, 34.68, 33.19, 34.09, 40.78, 42.63, 43.95, 31.78)

COLUMN = {"phase1": 0, "phase2": 1}
"""Which of our checkpoints stands where a published one stands."""

PERPLEXITY = {"base": 3.42, "merged": 2.75}
"""On the Bilkent Turkish Writings set; the protocol (mask rate, pooling) is not published."""

TRAINABLE_SHARE = 0.1494
"""LoRA r = 256 on every linear of the mmBERT-base trunk, as a share of base + adapter."""


def accuracy(model: str, task: str) -> float | None:
    """The published accuracy (0 to 100) of the checkpoint that `model` corresponds to, if any."""
    column = COLUMN.get(model)
    scores = ACCURACY.get(task)
    return None if column is None or scores is None else scores[column]
