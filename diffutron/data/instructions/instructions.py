"""Stage `instructions`: both instruction sets as chat rows with exact answer spans.

normalize, personal data -> empty, truncated -> language -> repetition -> duplicate -> contaminated
-> length -> quota -> split by cluster. Language and repetition are judged as in the corpus. The two
phases are split together: a prompt that one holds out is trained on in neither. A part of the rows
is in memory at a time, the others lie in a table on disk (`RowTable`).
"""

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from diffutron.config.params import Params
from diffutron.data.card_page import steps_csv
from diffutron.data.evaluation_sets.findable import CACHE, count_findable
from diffutron.data.evaluation_sets.kept_out import kept_out_sets
from diffutron.data.instructions import card, steps
from diffutron.data.instructions.row_table import RowTable
from diffutron.data.instructions.steps import PHASES, SPLITS, Encode, Row
from diffutron.data.matching.database import database
from diffutron.data.matching.decontaminate import Contamination, items_of
from diffutron.data.matching.false_alarms import MOST, count_false_alarms
from diffutron.data.sources.bad_rows import BadRows
from diffutron.data.sources.sources import count_raw, licenses_of, raw_instructions
from diffutron.runtime.files import atomic_folder, write_json, write_text
from diffutron.runtime.progress import Progress


def instructions(params: Params, encode: Encode, *, out: Path, metrics: Path) -> None:
    """Write train and held-out rows of both phases, and their card.

    Args:
        encode: from prompts and answers to the ids of each (`modeling.tokenizer.encode_chats`).

    Raises:
        UserError: a source cannot be read, or too few rows are left.
    """
    started = time.perf_counter()
    rules, plates = params.instructions, params.corpus.personal_data.plates
    sets, kept_out = kept_out_sets(params), params.corpus.contamination
    items = [item for one in sets for item in items_of(one.task, one.rows)]
    contamination = Contamination(items, kept_out)
    bad_rows = {
        phase: BadRows("instructions", max_bad_share=rules.max_bad_share) for phase in PHASES
    }
    edited = {phase: Counter[str]() for phase in PHASES}
    with atomic_folder(out) as work:
        with database(work / ".joins") as db:
            table = RowTable(db, seed=params.seed)
            with Progress(total=count_raw(rules), desc="instructions", unit="rows") as bar:
                for phase in PHASES:
                    raw = bad_rows[phase].sift(raw_instructions(rules, phase, seed=params.seed))
                    seen, told = set[int](), edited[phase]
                    for batch in steps.in_batches(raw):
                        rows = [steps.raw_row(one, phase, told, plates=plates) for one in batch]
                        _judge(rows, seen, params, contamination, encode)
                        table.add(rows)
                        bar.update(len(batch))
                    table.draw(phase, rules)
            table.split(rules, params.corpus.near_duplicate)
            for phase in PHASES:
                for name in SPLITS:
                    table.write(work, phase, name)
            counts = card.count_instructions(table, bad_rows, edited, plates=plates)
            searched = {
                "findable": count_findable(sets, kept_out, out.parent / CACHE),
                "false_alarms": count_false_alarms(items, kept_out, table.some_kept_texts(MOST)),
            }
            card.write_instructions_card(table, counts, bad_rows, kept_out.tasks, searched, work)
        shutil.rmtree(work / ".joins")
    seconds = round(time.perf_counter() - started, 2)
    stated = [asdict(one) for one in licenses_of(rules)]
    write_json(metrics, {**counts, **searched, "licenses": stated, "seconds": seconds})
    steps_of = {f"{name} ": (one["rows"]["kept"], one["dropped"]) for name, one in counts.items()}
    write_text(metrics.with_name(f"{metrics.stem}_steps.csv"), steps_csv(steps_of))


def _judge(
    rows: Sequence[Row],
    seen: set[int],
    params: Params,
    contamination: Contamination,
    encode: Encode,
) -> None:
    """Give the rows that cannot be used their reasons, and encode the others. seen: the keys of the
    rows before."""
    rules = params.instructions
    steps.drop_broken(rows)
    steps.drop_languages(rows, params.corpus.language)
    steps.drop_repetition(rows, params.corpus.repetition)
    steps.drop_duplicate_rows(rows, seen)
    steps.drop_contaminated_rows(rows, contamination)
    steps.drop_long(rows, encode, most=rules.max_tokens, cut=rules.too_long == "cut")
