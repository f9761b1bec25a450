"""The text set of the published perplexity claim: hub set, `writings/` of a folder, or sample."""

import os
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from diffutron.config.params import PerplexityText
from diffutron.data.sources.hub_rows import open_split
from diffutron.data.sources.row_readers import BadLine
from diffutron.runtime.errors import UserError
from diffutron.runtime.json_lines import read_json_lines


def read_perplexity_text(params: PerplexityText, *, seed: int) -> list[str]:
    """`params.documents` texts drawn without replacement, in the order of the source."""
    if params.source == "sample":
        from diffutron.sample import essays

        found: Iterable[str] = [row["text"] for row in essays()]
    else:
        found = _local(params) if params.source == "local" else _hub(params)
    texts = [text for text in (one.strip() for one in found) if text]
    if not texts:
        raise UserError(f"evaluate.perplexity_text: source {params.source} holds no text")
    count = min(params.documents, len(texts))
    chosen = random.Random(f"{seed}:perplexity_text").sample(range(len(texts)), count)
    return [texts[index] for index in sorted(chosen)]


def _local(params: PerplexityText) -> Iterator[str]:
    folder = os.environ.get("DIFFUTRON_DATA")
    if not folder:
        raise UserError(
            "evaluate.perplexity_text.source is local but DIFFUTRON_DATA is not set: set it to "
            "the folder that holds writings/*.jsonl"
        )
    paths = sorted(Path(folder, "writings").glob("*.jsonl"))
    if not paths:
        raise UserError(f"{Path(folder, 'writings')} holds no *.jsonl file for the perplexity text")
    for path in paths:
        for number, row in read_json_lines(path):
            if not isinstance(row, dict) or not isinstance(row.get(params.field), str):
                raise UserError(
                    f"{path}, line {number}: no text field `{params.field}`; set "
                    "evaluate.perplexity_text.field"
                )
            yield row[params.field]


def _hub(params: PerplexityText) -> Iterator[str]:
    found = open_split(params, setting="evaluate.perplexity_text")
    for row in found.with_fields(params.field, limit=params.limit):
        text = None if isinstance(row, BadLine) else row.values[params.field]
        if not isinstance(text, str):
            raise UserError(
                f"{found.title}: `{params.field}` holds what is no text; choose another"
            )
        yield text
