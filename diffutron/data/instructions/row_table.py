"""The rows of the stage `instructions` as a table, so that memory holds a part of them at a time.

What a row says alone is judged before (`steps`); here is what depends on the other rows: the
quotas, the split, and the counts of the card.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from diffutron.config.data_params import InstructionsParams, NearDuplicateParams
from diffutron.data.instructions.clusters import AT_ONCE, find_row_clusters
from diffutron.data.instructions.steps import PHASES, Row, alive, number
from diffutron.data.matching.database import Database, database
from diffutron.runtime.errors import UserError

LABEL_SHARE = 0.05  # of the rows of a source; answers of so many are labels
PUBLISHED = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("prompt", pa.string()),
        ("answer", pa.string()),
        ("input_ids", pa.list_(pa.int32())),
        ("answer_start", pa.int32()),
        ("answer_end", pa.int32()),
    ]
)
STORED = pa.schema(
    [
        *PUBLISHED,
        ("index", pa.int64()),
        ("phase", pa.int8()),
        ("reason", pa.string()),  # empty: kept
        ("split", pa.string()),
        ("quota_order", pa.uint64()),
        ("split_order", pa.uint64()),
    ]
)
Kind = tuple[int, str, str]  # phase, source, and the answer where it is a label


class RowTable:
    """Rows of both phases in their order, in the table `rows` of a database."""

    def __init__(self, db: Database, *, seed: int):
        self.db, self.seed, self.size = db, seed, 0
        db.load("rows", [], STORED)

    def add(self, rows: Sequence[Row]) -> None:
        """More rows, judged as far as they can be alone."""
        columns = _columns(rows, ("phase", "reason", "split"))
        columns["index"] = range(self.size, self.size + len(rows))
        for purpose in ("quota", "split"):
            columns[f"{purpose}_order"] = [number(self.seed, purpose, row.id) for row in rows]
        self.db.add("rows", pa.table(columns, schema=STORED))
        self.size += len(rows)

    def counts(self, *columns: str, where: str = "true") -> dict[Any, int]:
        """How many rows there are by the values of some columns."""
        names = ", ".join(columns)
        found = self.db.rows(f"select {names}, count(*) from rows where {where} group by all")
        return {(one[0] if len(columns) == 1 else one[:-1]): one[-1] for one in found}

    def draw(self, phase: int, rules: InstructionsParams) -> None:
        """At most `max_rows` rows of a phase, drawn uniformly, or of each source as many as of the
        others while it has some; the draw depends on text and seed alone."""
        if rules.max_rows is None:
            return
        share = "source" if rules.balance == "source" else "''"
        shares = equal_shares(
            self.counts(share, where=f"reason = '' and phase = {phase}"), rules.max_rows
        )
        drawn = pa.table(
            {"share": pa.array(shares, pa.string()), "most": pa.array(shares.values(), pa.int64())}
        )
        with self.db.arriving(drawn):
            self.db.run(f"""
                update rows set reason = 'quota' where index in (
                    select index from (
                        select index, {share} as share, row_number() over (
                            partition by {share} order by quota_order, index
                        ) as place
                        from rows where reason = '' and phase = {phase}
                    ) join arriving using (share) where place > most
                )
            """)

    def split(self, rules: InstructionsParams, near: NearDuplicateParams) -> None:
        """Hold out `heldout_rows` rows of each phase, by whole clusters.

        Raises:
            UserError: a phase has too few rows for that.
        """
        self.hold_out(rules.heldout_rows, near)
        left = self.counts("phase", where="reason = ''")
        held = self.counts("phase", where="split = 'heldout'")
        for phase in PHASES:
            kept, out = left.get(phase, 0), held.get(phase, 0)
            if out < rules.heldout_rows or out == kept:
                raise UserError(
                    f"instructions: {kept} rows of phase {phase} are left, too few to hold "
                    f"out instructions.heldout_rows = {rules.heldout_rows}; lower it or bring more "
                    "rows"
                )

    def hold_out(self, most: int, near: NearDuplicateParams, *, facts: bool = True) -> None:
        """Hold out whole clusters until `most` rows of each phase are held out, of each kind
        (source, and label where answers are labels) its share.

        Where the clusters of a kind are too large for that, others take its place. Where all are
        too large, fewer rows are held out. The other rows are for training. facts: as in
        `find_row_clusters`.
        """
        find_row_clusters(self.db, near, facts=facts)
        self._name_kinds()
        of_kind = {
            tuple(one[:3]): one[3]
            for one in self.db.rows("""
            select phase, source, label, count(*) from members group by all
        """)
        }
        of_phase = self.counts("phase", where="reason = ''")
        slack = most // 4  # a phase holds out at most so many rows more than asked for
        shares = {kind: most * n // of_phase[kind[0]] for kind, n in of_kind.items()}
        drawn = _drawn(self._clusters(), shares, lambda kind: kind, slack=slack // 25)
        held = Counter(kind[0] for kinds in drawn.values() for kind in kinds.elements())
        missing = {phase: most - held[phase] for phase in of_phase}
        others = (one for one in self._clusters() if one[0] not in drawn)
        more = _drawn(others, missing, lambda kind: kind[0], slack=slack)
        with self.db.arriving(pa.table({"cluster": pa.array([*drawn, *more], pa.int64())})):
            self.db.run("""
                update rows set split = case
                    when index in (select index from members semi join arriving using (cluster))
                    then 'heldout' else 'train' end
                where reason = ''
            """)
        self.db.drop("members", "clusters")

    def _name_kinds(self) -> None:
        """The table `members` (index, cluster, phase, source, label) of the rows that are left."""
        self.db.run(
            """
            create table members as
            with answers as (
                select phase, source, answer, count(*) as num_rows
                from rows where reason = '' group by all
            ),
            labels as (
                select phase, source, answer as label from answers join (
                    select phase, source, sum(num_rows) as total from answers group by all
                ) using (phase, source) where num_rows >= ?::double * total
            )
            select rows.index, coalesce(cluster, rows.index) as cluster, rows.phase, rows.source,
                coalesce(label, '') as label
            from rows left join clusters using (index)
            left join labels on labels.phase = rows.phase and labels.source = rows.source
                and labels.label = rows.answer
            where reason = ''
            """,
            [LABEL_SHARE],
        )

    def _clusters(self) -> Iterator[tuple[int, Counter[Kind]]]:
        """The clusters in the order in which they are drawn, and the kinds of their rows."""
        batches = self.db.batches("""
            select cluster, phase, source, label, num_rows from (
                select cluster, phase, source, label, count(*) as num_rows
                from members group by all
            ) as counted join (select index, split_order from rows) as first
                on first.index = counted.cluster
            order by split_order, cluster, phase, source, label
        """)
        rows = (row for one in batches for row in zip(*one.to_pydict().values(), strict=True))
        for cluster, mine in groupby(rows, key=lambda row: row[0]):
            yield cluster, Counter({tuple(row[1:4]): row[4] for row in mine})

    def some_kept_texts(self, most: int) -> list[str]:
        """At most so many kept rows as texts, drawn by their ids."""
        rows = self.db.rows(
            "select prompt, answer from rows where reason = '' order by id, index limit ?", [most]
        )
        return [f"{prompt}\n{answer}" for prompt, answer in rows]

    def write(self, folder: Path, phase: int, split: str) -> None:
        """The rows of a phase in a split, as trainings and evaluations read them."""
        asked = (
            f"select {', '.join(PUBLISHED.names)} from rows where index >= ? and index < ? "
            "and phase = ? and split = ? order by index"
        )
        with pq.ParquetWriter(rows_file(folder, phase, split), PUBLISHED) as writer:
            for start in range(0, self.size, AT_ONCE):
                part = self.db.table(asked, [start, start + AT_ONCE, phase, split])
                writer.write_table(part.cast(PUBLISHED))


def rows_file(folder: Path, phase: int, split: str) -> Path:
    return folder / f"phase{phase}_{split}.parquet"


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Rows in memory in the form of `RowTable.write`."""
    pq.write_table(pa.table(_columns(rows), schema=PUBLISHED), path)


def _columns(rows: Sequence[Row], more: Sequence[str] = ()) -> dict[str, Sequence[Any]]:
    """The published columns of rows, and more that have their names."""
    names = [name for name in PUBLISHED.names if name != "answer_end"]
    found = {name: [getattr(row, name) for row in rows] for name in (*names, *more)}
    return {**found, "answer_end": [len(row.input_ids) for row in rows]}


def split_rows(
    rows: Sequence[Row], most: int, near: NearDuplicateParams, *, seed: int, facts: bool = True
) -> None:
    """`RowTable.hold_out` for rows in memory."""
    left = list(alive(rows))
    with database() as db:
        table = RowTable(db, seed=seed)
        table.add(left)
        table.hold_out(most, near, facts=facts)
        for row, (split,) in zip(
            left, db.rows("select split from rows order by index"), strict=True
        ):
            row.split = split


def equal_shares(have: Mapping[str, int], most: int) -> dict[str, int]:
    """How many of each source make `most` in all, as equal as what each has allows."""
    shares: dict[str, int] = {}
    for place, (source, n) in enumerate(sorted(have.items(), key=lambda one: (one[1], one))):
        shares[source] = min(n, (most - sum(shares.values())) // (len(have) - place))
    return shares


def _drawn(
    clusters: Iterable[tuple[int, Counter[Kind]]],
    wanted: Mapping[Any, int],
    named: Callable[[Kind], Any],
    *,
    slack: int,
) -> dict[int, Counter[Kind]]:
    """The clusters that are held out, in their order while rows of their kinds are missing, never
    more than `slack` rows of a kind too many."""
    missing, found = dict(wanted), {}
    for cluster, kinds in clusters:
        if not any(n > 0 for n in missing.values()):
            break
        mine: Counter[Any] = Counter()
        for kind, n in kinds.items():
            mine[named(kind)] += n
        if not any(missing[one] > 0 for one in mine):
            continue
        if any(n > max(missing[one], 0) + slack for one, n in mine.items()):
            continue
        found[cluster] = kinds
        for one, n in mine.items():
            missing[one] -= n
    return found
