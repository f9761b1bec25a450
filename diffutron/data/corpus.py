"""Stage `corpus`: raw documents in, a clean counted corpus out. `corpus` reads as the recipe.

    normalise, repair, personal data -> language -> length -> quality -> repetition   (cleaning.py)
    -> boilerplate -> duplicates -> contaminated -> quotas -> split by cluster        (fates.py)
    -> parquet and token ids (publish.py) -> card (card.py)

Every document ends with a reason or in one of the two splits.
"""

import shutil
import time
from collections import Counter
from functools import partial
from pathlib import Path

from diffutron.data import card, fates
from diffutron.data.cleaning import Cleaner, Encoder
from diffutron.data.decontaminate import Item, items_of
from diffutron.data.publish import publish
from diffutron.data.shards import clean_all
from diffutron.data.sources import Quarantine, local_folder, read_documents
from diffutron.outputs import atomic_folder, write_json
from diffutron.params import EvaluationParams, Params


def corpus(params: Params, *, tokenizer: Path, out: Path, metrics: Path) -> None:
    """Write the corpus folder: parquet text, memory-mapped ids, data card.

    Raises:
        UserError: the source cannot be read, or no document is left after a step.
    """
    started = time.perf_counter()
    rules = params.corpus
    vocab_size = Encoder(tokenizer).vocab_size
    cleaner = partial(Cleaner, rules, tokenizer, evaluation_items(params.evaluation))
    quarantine = Quarantine("corpus", max_bad_share=rules.max_bad_share)
    documents = quarantine.sift(read_documents(rules, seed=params.seed))
    with atomic_folder(out) as work:
        shards = work / ".shards"
        shards.mkdir()
        cleaned = clean_all(documents, cleaner, folder=shards)
        removed_lines = fates.drop_boilerplate(cleaned, rules, cleaner=cleaner)
        found = fates.Fates.load(cleaned)
        fates.drop_duplicates(found, rules)
        fates.drop_contaminated(found)
        fates.draw_quotas(found, rules, seed=params.seed)
        fates.split(found, rules, seed=params.seed)
        publish(found, work, vocab_size=vocab_size)
        edited = sum((shard.edited for shard in cleaned), Counter(lines=removed_lines))
        counts = card.count_corpus(found, quarantine, edited)
        card.write_corpus_card(found, counts, quarantine, work, seed=params.seed)
        shutil.rmtree(shards)
    seconds = round(time.perf_counter() - started, 2)
    write_json(metrics, {**counts, "seconds": seconds})


def evaluation_items(params: EvaluationParams) -> list[Item]:
    """The evaluation items that must not stand in a training text."""
    from diffutron.data.evaluation_sets import load_sets

    folder = local_folder("evaluation")[0].parent if params.source == "local" else None
    sets, _ = load_sets(params.tasks, source=params.source, folder=folder)
    return [item for one in sets for item in items_of(one.task, one.rows)]
