"""The clusters of rows in memory."""

from collections.abc import Sequence

from diffutron.config.data_params import NearDuplicateParams
from diffutron.data.instructions.clusters import find_row_clusters
from diffutron.data.instructions.row_table import RowTable
from diffutron.data.instructions.steps import Row
from diffutron.data.matching.database import database


def row_clusters(
    rows: Sequence[Row], near: NearDuplicateParams, *, facts: bool = True
) -> list[int]:
    """The cluster of each row, named by the first of its rows."""
    with database() as db:
        table = RowTable(db, seed=1)
        table.add(rows)
        find_row_clusters(db, near, facts=facts)
        found = db.rows("""
            select coalesce(cluster, rows.index) from rows left join clusters using (index)
            order by rows.index
        """)
    return [cluster for (cluster,) in found]
