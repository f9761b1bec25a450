"""Stage `corpus`: raw documents in, a clean counted corpus out. The steps, in their order:

    normalize, drop_languages, tokenize, drop_bad_prose, fingerprint        document_steps.py
        one document at a time, in shards that other processes may clean    shards.py, executors.py
    drop_boilerplate                                                        boilerplate.py
    drop_duplicate_documents, drop_contaminated_documents, draw_quotas,
        split_documents                                                     comparing_steps.py
    publish                                                                 publish.py
    card                                                                    card.py

Every document ends with a reason or in one of the two splits. On its way it has seven forms:

| form of a document                         | file                     | made by              |
|---|---|---|
| `RawRow`: the values of one line           | sources/row_readers.py   | `read_file`          |
| `Document`: raw text, source, place        | sources/sources.py       | `raw_documents`      |
| `Row`: text, and what the steps said of it | corpus/document_steps.py | `Cleaner.normalize`  |
| the same with token ids                    | corpus/document_steps.py | `Cleaner.tokenize`   |
| row of a shard (Arrow)                     | corpus/shards.py         | `clean_batch`        |
| row of the table `documents`, no text      | corpus/document_table.py | `DocumentTable.load` |
| row of `SPLIT.parquet`, `SPLIT_ids.npy`    | corpus/publish.py        | `publish`            |
| `Samples`, cut into batches by a training  | token_store.py           | `read_documents`     |
"""

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diffutron.config.params import Params
from diffutron.data.card_page import steps_csv
from diffutron.data.corpus import card
from diffutron.data.corpus.boilerplate import drop_boilerplate
from diffutron.data.corpus.comparing_steps import (
    draw_quotas,
    drop_contaminated_documents,
    drop_duplicate_documents,
    split_documents,
)
from diffutron.data.corpus.document_steps import Encoder, Recipe
from diffutron.data.corpus.document_table import DocumentTable
from diffutron.data.corpus.executors import Kind, chosen_executor, clean_all
from diffutron.data.corpus.publish import publish
from diffutron.data.corpus.shards import ShardFile, ShardStore
from diffutron.data.evaluation_sets.findable import CACHE, count_findable
from diffutron.data.evaluation_sets.kept_out import kept_out_sets
from diffutron.data.matching.database import database
from diffutron.data.matching.decontaminate import items_of
from diffutron.data.matching.false_alarms import MOST, count_false_alarms
from diffutron.data.sources.bad_rows import BadRows
from diffutron.data.sources.licenses import License, check_licenses
from diffutron.data.sources.sources import count_documents, licenses_of, quotas_of, raw_documents
from diffutron.runtime.files import atomic_folder, only_run, write_json, write_text


def corpus(
    params: Params,
    *,
    tokenizer: Path,
    out: Path,
    metrics: Path,
    executor: Kind | None = None,
    workers: int | None = None,
) -> None:
    """Write the corpus folder: parquet text, memory-mapped ids, fates, data card.

    Args:
        executor: None for the one of `DIFFUTRON_EXECUTOR`.

    Raises:
        UserError: the source cannot be read, no document is left after a step, or another run
            writes the same folder.
    """
    started, kind = time.perf_counter(), chosen_executor(executor)
    rules, seed = params.corpus, params.seed
    vocab_size = Encoder(tokenizer).vocab_size
    licenses = licenses_of(rules)
    check_licenses(licenses, use=rules.use, allowed=rules.allowed_licenses)
    bad_rows = BadRows("corpus", max_bad_share=rules.max_bad_share)
    sets = kept_out_sets(params)
    findable = count_findable(sets, rules.contamination, out.parent / CACHE)
    sources = Sources(bad_rows, licenses, quotas_of(rules), findable)
    recipe = Recipe.of(rules, tokenizer, [i for one in sets for i in items_of(one.task, one.rows)])
    documents = bad_rows.sift(raw_documents(rules, seed=seed))
    with only_run(out) as kept, atomic_folder(out) as work:
        store = ShardStore(kept, recipe.fingerprint)
        shards = clean_all(
            documents,
            recipe,
            store=store,
            size=rules.shard_documents,
            total=count_documents(rules),
            kind=kind,
            workers=workers,
        )
        counts = compare_documents(
            shards, recipe, sources, work, vocab_size=vocab_size, seed=seed, threads=workers
        )
        store.prune(shards)
    seconds = round(time.perf_counter() - started, 2)
    stated = [asdict(one) for one in licenses]  # read by the promotion gate and the model card
    write_json(metrics, {**counts, "licenses": stated, "seconds": seconds})
    left = {"": (counts["documents"]["kept"], counts["dropped"])}
    write_text(metrics.with_name(f"{metrics.stem}_steps.csv"), steps_csv(left))


@dataclass(frozen=True)
class Sources:
    """What is known of the sources besides their documents, and of the sets kept out of them."""

    bad_rows: BadRows
    licenses: Sequence[License]
    quotas: Mapping[str, int]
    findable: Mapping[str, Mapping[str, int]]


def compare_documents(
    shards: Sequence[ShardFile],
    recipe: Recipe,
    sources: Sources,
    out: Path,
    *,
    vocab_size: int,
    seed: int,
    threads: int | None = None,
) -> dict[str, Any]:
    """The second half: compare cleaned documents, and write the corpus into `out`; its counts."""
    rules, aside = recipe.params, {name: out / f".{name}" for name in ("plain", "joins")}
    with database(aside["joins"], threads=threads) as db:
        plain, removed_lines = drop_boilerplate(
            shards, recipe.cleaner, db, most=rules.boilerplate_documents, folder=aside["plain"]
        )
        table = DocumentTable.load(plain, db)
        table.require_some(table.last_step())
        drop_duplicate_documents(table, rules)
        drop_contaminated_documents(table)
        table.require_some("decontamination")
        draw_quotas(table, sources.quotas, seed=seed)
        split_documents(table, rules, seed=seed)
        publish(table, out, vocab_size=vocab_size)
        table.write(out / "fates.parquet")
        edited = sum((shard.edited for shard in shards), Counter(lines=removed_lines))
        tasks, plates = rules.contamination.tasks, rules.personal_data.plates
        counts = card.count_corpus(table, sources.bad_rows, edited, tasks, plates=plates)
        counts["findable"] = sources.findable
        counts["false_alarms"] = count_false_alarms(
            recipe.items, rules.contamination, table.some_kept_texts(MOST)
        )
        card.write_corpus_card(table, counts, sources.bad_rows, sources.licenses, out, seed=seed)
    for folder in aside.values():
        shutil.rmtree(folder, ignore_errors=True)
    return counts
