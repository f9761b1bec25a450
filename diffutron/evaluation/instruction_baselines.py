"""What held-out instructions would be answered by counting: the yardsticks for exact answers.

They learn from the training rows of the same phase and source, which a model is not told. A model
whose exact answers are no more than these has learned which answers are frequent, and not more.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diffutron.evaluation.instruction_answers import HeldoutInstruction
from diffutron.evaluation.scorers import bag_of_words
from diffutron.runtime.errors import UserError

if TYPE_CHECKING:
    import polars

NAMES = ("majority_per_source", "bag_of_words")
MAX_ROWS = 200_000  # training rows of a phase that are read, at equal distances
MAX_ANSWERS = 100  # of a source, that the bag of words can give
MIN_COUNT = 2  # training rows that one of these answers must have


def baseline_answers(folder: Path, asked: Sequence[HeldoutInstruction]) -> dict[str, list[str]]:
    """The answers of each of NAMES to the questions, empty where a source has no training row.

    majority_per_source: the most frequent answer of the source. bag_of_words: a linear classifier
    of the words of the prompt chooses among the MAX_ANSWERS most frequent answers of the source
    that stand MIN_COUNT times or more; where fewer than two do, it gives the most frequent one.
    """
    found = {name: [""] * len(asked) for name in NAMES}
    for phase in sorted({one.phase for one in asked}):
        rows = training_rows(folder / f"{phase}_train.parquet")
        for source in sorted({one.source for one in asked if one.phase == phase}):
            places = [
                place
                for place, one in enumerate(asked)
                if (one.phase, one.source) == (phase, source)
            ]
            prompts = [asked[place].prompt for place in places]
            answers = _answers_of_a_source(rows, source, prompts)
            for name, texts in answers.items():
                for place, text in zip(places, texts, strict=True):
                    found[name][place] = text
    return found


def training_rows(path: Path) -> "polars.DataFrame":
    import polars

    try:
        scan = polars.scan_parquet(path).select("source", "prompt", "answer")
        total = int(scan.select(polars.len()).collect().item())
        return scan.gather_every(max(1, -(-total // MAX_ROWS))).collect()
    except (OSError, polars.exceptions.PolarsError) as error:
        raise UserError(
            f"cannot read {path} ({' '.join(str(error).split())[:120]}); run `diffutron "
            "instructions` again"
        ) from error


def _answers_of_a_source(
    rows: "polars.DataFrame", source: str, prompts: Sequence[str]
) -> dict[str, list[str]]:
    """The answers of each baseline to the prompts of one source; nothing if it has no rows."""
    import polars

    rows = rows.filter(polars.col("source") == source)
    if rows.is_empty():
        return {}
    counts = rows["answer"].value_counts().sort(["count", "answer"], descending=[True, False])
    majority = [counts["answer"][0]] * len(prompts)
    frequent = counts.filter(polars.col("count") >= MIN_COUNT)["answer"].head(MAX_ANSWERS).to_list()
    if len(frequent) < 2:
        return dict.fromkeys(NAMES, majority)
    rows = rows.filter(polars.col("answer").is_in(frequent))
    chosen = bag_of_words.classify(rows["prompt"].to_list(), rows["answer"].to_list(), prompts)
    return dict(zip(NAMES, (majority, chosen), strict=True))
