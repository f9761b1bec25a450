"""Stage `corpus`: raw documents in, a clean counted corpus out. `corpus` reads as the recipe.

    normalize, repair, personal data -> language -> length -> quality -> repetition
                                                                                (document_steps.py)
    -> boilerplate                                                              (boilerplate.py)
    -> duplicates -> contaminated -> quotas -> split by cluster                 (comparing_steps.py)
    -> parquet and token ids (publish.py) -> card (card.py)

Every document ends with a reason or in one of the two splits.
"""

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diffutron.config.params import Params
from diffutron.data.corpus import card, comparing_steps
from diffutron.data.corpus.boilerplate import drop_boilerplate
from diffutron.data.corpus.card_page import steps_csv
from diffutron.data.corpus.database import database
from diffutron.data.corpus.decontaminate import Item, items_of
from diffutron.data.corpus.document_steps import Encoder
from diffutron.data.corpus.document_table import Fates
from diffutron.data.corpus.executors import Kind, clean_all
from diffutron.data.corpus.publish import publish
from diffutron.data.corpus.recipe import Recipe
from diffutron.data.corpus.shards import Cleaned, ShardStore
from diffutron.data.sources.bad_rows import Quarantine
from diffutron.data.sources.licenses import License, check_licenses
from diffutron.data.sources.sources import (
    count_documents,
    licenses_of,
    local_folder,
    quotas_of,
    read_documents,
)
from diffutron.runtime.files import atomic_folder, only_run, write_json, write_text


def corpus(
    params: Params,
    *,
    tokenizer: Path,
    out: Path,
    metrics: Path,
    executor: Kind = "local",
    workers: int | None = None,
) -> None:
    """Write the corpus folder: parquet text, memory-mapped ids, fates, data card.

    Raises:
        UserError: the source cannot be read, no document is left after a step, or another run
            writes the same folder.
    """
    started = time.perf_counter()
    rules, seed = params.corpus, params.seed
    vocab_size = Encoder(tokenizer).vocab_size
    licenses = licenses_of(rules)
    check_licenses(licenses, use=rules.use, allowed=rules.allowed_licenses)
    quotas = quotas_of(rules)
    recipe = Recipe.of(rules, tokenizer, evaluation_items(params))
    quarantine = Quarantine("corpus", max_bad_share=rules.max_bad_share)
    documents = quarantine.sift(read_documents(rules, seed=seed))
    with only_run(out) as shards, atomic_folder(out) as work:
        store = ShardStore(shards, recipe.fingerprint)
        cleaned = clean_all(
            documents,
            recipe,
            store=store,
            size=rules.shard_documents,
            total=count_documents(rules),
            kind=executor,
            workers=workers,
        )
        found = Input(cleaned, quarantine, licenses, quotas)
        counts = join(found, recipe, work, vocab_size=vocab_size, seed=seed, threads=workers)
        store.prune(cleaned)
    seconds = round(time.perf_counter() - started, 2)
    stated = [asdict(one) for one in licenses]  # read by the promotion gate and the model card
    write_json(metrics, {**counts, "licenses": stated, "seconds": seconds})
    left = {"": (counts["documents"]["kept"], counts["dropped"])}
    write_text(metrics.with_name(f"{metrics.stem}_steps.csv"), steps_csv(left))


@dataclass(frozen=True)
class Input:
    """What the first half leaves, and what is known of the sources."""

    cleaned: Sequence[Cleaned]
    quarantine: Quarantine
    licenses: Sequence[License]
    quotas: Mapping[str, int]


def join(
    given: Input,
    recipe: Recipe,
    out: Path,
    *,
    vocab_size: int,
    seed: int,
    threads: int | None = None,
) -> dict[str, Any]:
    """The second half: compare the documents, and write the corpus into `out`; its counts."""
    rules, aside = recipe.params, {name: out / f".{name}" for name in ("plain", "joins")}
    with database(aside["joins"], threads=threads) as base:
        most = rules.boilerplate_documents
        plain, removed_lines = drop_boilerplate(
            given.cleaned, recipe.cleaner, base, most=most, folder=aside["plain"]
        )
        fates = Fates.load(plain, base)
        fates.require_some(fates.last_step())
        comparing_steps.drop_duplicates(fates, rules)
        comparing_steps.drop_contaminated(fates)
        fates.require_some("decontamination")
        comparing_steps.draw_quotas(fates, given.quotas, seed=seed)
        comparing_steps.split(fates, rules, seed=seed)
        publish(fates, out, vocab_size=vocab_size)
        fates.write(out / "fates.parquet")
        edited = sum((shard.edited for shard in given.cleaned), Counter(lines=removed_lines))
        counts = card.count_corpus(fates, given.quarantine, edited)
        card.write_corpus_card(fates, counts, given.quarantine, given.licenses, out, seed=seed)
    for folder in aside.values():
        shutil.rmtree(folder, ignore_errors=True)
    return counts


def evaluation_items(params: Params) -> list[Item]:
    """The evaluation items that must not stand in a training text."""
    from diffutron.data.evaluation_sets.evaluation_sets import load_sets

    source, tasks = params.evaluate.source, params.corpus.contamination.tasks
    if not tasks:
        return []
    folder = local_folder("evaluate")[0].parent if source == "local" else None
    sets, _ = load_sets(tasks, source=source, folder=folder)
    return [item for one in sets for item in items_of(one.task, one.rows)]
