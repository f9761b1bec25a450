"""Stage `instructions`: both instruction sets as chat rows with exact answer spans.

normalize, personal data -> empty, truncated -> language -> repetition -> duplicate -> contaminated
-> length -> quota -> split by cluster. Language and repetition are judged as in the corpus. The two
phases are split together: a prompt that one holds out is trained on in neither.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from diffutron.config.params import Params
from diffutron.data.card_page import steps_csv
from diffutron.data.evaluation_sets.findable import CACHE, count_findable
from diffutron.data.evaluation_sets.kept_out import kept_out_sets
from diffutron.data.instructions import card, steps
from diffutron.data.instructions.steps import PHASES, SPLITS, Encode, Row
from diffutron.data.matching.decontaminate import Contamination, items_of
from diffutron.data.matching.false_alarms import count_false_alarms
from diffutron.data.sources.bad_rows import BadRows
from diffutron.data.sources.sources import licenses_of, raw_instructions
from diffutron.runtime.files import atomic_folder, write_json, write_text


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
    rows: list[Row] = []
    bad_rows, edited = {}, {phase: Counter[str]() for phase in PHASES}
    for phase in PHASES:
        bad_rows[phase] = BadRows("instructions", max_bad_share=rules.max_bad_share)
        found = bad_rows[phase].sift(raw_instructions(rules, phase, seed=params.seed))
        mine = [steps.raw_row(one, phase, edited[phase], plates=plates) for one in found]
        steps.drop_broken(mine)
        steps.drop_languages(mine, params.corpus.language)
        steps.drop_repetition(mine, params.corpus.repetition)
        steps.drop_duplicate_rows(mine)
        steps.drop_contaminated_rows(mine, contamination)
        desc, cut = f"instructions, phase {phase}", rules.too_long == "cut"
        steps.drop_long(mine, encode, most=rules.max_tokens, desc=desc, cut=cut)
        steps.draw(mine, rules, seed=params.seed)
        rows += mine
    steps.split_rows(rows, rules, params.corpus.near_duplicate, seed=params.seed)
    kept = sorted(steps.alive(rows), key=lambda row: row.id)  # an order that is drawn by a hash
    clean = (f"{row.prompt}\n{row.answer}" for row in kept)
    searched = {
        "findable": count_findable(sets, kept_out, out.parent / CACHE),
        "false_alarms": count_false_alarms(items, kept_out, clean),
    }
    with atomic_folder(out) as work:
        for phase in PHASES:
            for name in SPLITS:
                write_rows(work, rows, phase, name)
        counts = card.count_instructions(rows, bad_rows, edited, plates=plates)
        card.write_instructions_card(
            rows, counts, bad_rows, kept_out.tasks, searched, work, seed=params.seed
        )
    seconds = round(time.perf_counter() - started, 2)
    stated = [asdict(one) for one in licenses_of(rules)]
    write_json(metrics, {**counts, **searched, "licenses": stated, "seconds": seconds})
    steps_of = {f"{name} ": (one["rows"]["kept"], one["dropped"]) for name, one in counts.items()}
    write_text(metrics.with_name(f"{metrics.stem}_steps.csv"), steps_csv(steps_of))


def write_rows(folder: Path, rows: Sequence[Row], phase: int, name: str) -> None:
    """The rows of a phase in the split `name`, as trainings and evaluations read them."""
    mine = [row for row in rows if row.phase == phase and row.split == name]
    columns = {
        "id": pa.array([row.id for row in mine], pa.string()),
        "source": pa.array([row.source for row in mine], pa.string()),
        "prompt": pa.array([row.prompt for row in mine], pa.string()),
        "answer": pa.array([row.answer for row in mine], pa.string()),
        "input_ids": pa.array([row.input_ids for row in mine], pa.list_(pa.int32())),
        "answer_start": pa.array([row.answer_start for row in mine], pa.int32()),
        "answer_end": pa.array([len(row.input_ids) for row in mine], pa.int32()),
    }
    pq.write_table(pa.table(columns), folder / f"phase{phase}_{name}.parquet")
