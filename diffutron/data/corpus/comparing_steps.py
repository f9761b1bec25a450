"""The steps of the corpus recipe that compare documents: each marks what it drops, and why."""

import hashlib
from collections.abc import Mapping

import pyarrow as pa

from diffutron.config.data_params import CorpusParams
from diffutron.data.corpus.document_table import DocumentTable
from diffutron.data.matching.dedup import find_clusters, find_exact, find_near
from diffutron.runtime.errors import UserError
from diffutron.text.turkish import words


def drop_duplicate_documents(table: DocumentTable, rules: CorpusParams) -> None:
    """Exact duplicates, then near ones. The longest document of a cluster is kept, of equally long
    ones the one read first."""
    db, text = table.db, table.texts()
    find_exact(db)
    db.run("create view bands as from all_bands anti join exact using (index)")
    find_near(db, lambda index: words(text(index)), rules.near_duplicate)
    db.drop("all_bands")
    find_clusters(db)
    # The best of equal texts may itself be near another one: then that one stands for them all.
    table.rewrite("""
        with first as (select index, min(other) as other from near group by index),
            heads as (
                select clusters.index, clusters.cluster, key
                from clusters join documents on documents.index = clusters.cluster
            )
        select documents.* replace (
            case when exact.other is not null or first.other is not null then 'duplicate'
                else reason end as reason,
            case when exact.other is not null then 'exact' when first.other is not null then 'near'
                else rule end as rule,
            coalesce(heads.cluster, documents.cluster) as cluster,
            coalesce(heads.key, documents.cluster_key) as cluster_key,
            coalesce(first.other, exact.other) as instead
        )
        from documents
        left join exact on exact.index = documents.index
        left join first on first.index = coalesce(exact.other, documents.index)
        left join heads on heads.index = documents.index
    """)


def drop_contaminated_documents(table: DocumentTable) -> None:
    """Documents that hold an evaluation item; `rule` names it."""
    table.rewrite("""
        select * exclude (found) replace (
            if(found, 'contaminated', reason) as reason, if(found, contaminated, rule) as rule
        )
        from (select *, reason = '' and contaminated <> '' as found from documents)
    """)


def draw_quotas(table: DocumentTable, quotas: Mapping[str, int], *, seed: int) -> None:
    """Draw `quotas[group]` documents uniformly from each group named; others stay whole."""
    if not quotas:
        return
    left = table.count("quota_group", where="reason = ''")
    for group, quota in quotas.items():
        if quota > left.get(group, 0):
            groups = ", ".join(sorted(table.count("quota_group")))
            raise UserError(
                f"corpus.quotas.{group} = {quota}, but {left.get(group, 0)} documents of that "
                f"group are left (groups: {groups}); lower it or take it out"
            )
    table.db.run("create table quotas (quota_group varchar, quota bigint)")
    table.db.add("quotas", pa.table({"quota_group": list(quotas), "quota": list(quotas.values())}))
    draw = _draw(table, seed, "quota")
    table.rewrite(f"""
        with drawn as (
            select index, quota,
                row_number() over (partition by quota_group order by {draw}(key), index) as place
            from documents join quotas using (quota_group) where reason = ''
        )
        select documents.* replace (if(place > quota, 'quota', reason) as reason)
        from documents left join drawn on drawn.index = documents.index
    """)


def split_documents(table: DocumentTable, rules: CorpusParams, *, seed: int) -> None:
    """Hold out whole clusters, drawn uniformly, until `heldout_documents` are reached; the cluster
    on the border goes to training as a whole: never more than was asked for."""
    kept, most = table.count("reason")[""], rules.heldout_documents
    if kept <= most:
        raise UserError(
            f"corpus.heldout_documents = {most}, but only {kept} documents "
            "are left; lower it or bring more text"
        )
    draw = _draw(table, seed, "split")
    table.rewrite(
        f"""
        with all_clusters as (
                select cluster, {draw}(any_value(cluster_key)) as drawn, count(*) as size
                from documents where reason = '' group by cluster
            ),
            first as (from all_clusters order by drawn, cluster limit $most),
            heldout as (
                select cluster from (
                    select cluster, sum(size) over (order by drawn, cluster) as together from first
                )
                where together <= $most
            )
        select documents.* replace (
            case when reason <> '' then '' when heldout.cluster is null then 'train'
                else 'heldout' end as split
        )
        from documents left join heldout using (cluster)
        """,
        {"most": most},
    )


def _draw(table: DocumentTable, seed: int, purpose: str) -> str:
    """The name of a function from a key to a uniform number: one of text and seed alone."""
    salt = f"{seed}:{purpose}:".encode()

    def draw(keys: pa.ChunkedArray) -> pa.Array:
        digests = (
            hashlib.blake2b(salt + key.to_bytes(8, "little"), digest_size=8).digest()
            for key in keys.to_pylist()
        )
        return pa.array([int.from_bytes(digest, "big") for digest in digests], pa.uint64())

    return table.db.function(f"draw_{purpose}", draw)
