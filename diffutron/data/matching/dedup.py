"""Duplicates: exact ones by a key, near ones by MinHash bands verified by the true Jaccard value.

Broder (1997); banding as in Leskovec, Rajaraman, Ullman, chapter 3. The bands only propose pairs:
a document is dropped because of one *kept* document that it really resembles, never through a
chain of neighbors.

The three searches are over tables of a `Database`, so what they hold in memory does not grow with
the number of documents.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diffutron.config.data_params import NearDuplicateParams
from diffutron.data.matching.database import Database
from diffutron.runtime.progress import Progress

_MIX = np.uint64(0x9E3779B97F4A7C15)
_MINHASH_SEED = 13  # only proposes pairs; results do not depend on it beyond missed ones
RECENT = 5000  # texts whose shingles are kept: pairs are of similar length, so they come close by
SHOWN_FROM = 5000  # texts to compare; fewer are done in a second or two
BANDS = pa.schema(
    [("index", pa.int64()), ("num_words", pa.int32()), ("band", pa.uint8()), ("key", pa.uint64())]
)
PAIRS = pa.schema([("index", pa.int64()), ("other", pa.int64())])


def shingles(tokens: Sequence[str], ngram: int) -> frozenset[tuple[str, ...]]:
    """The distinct n-grams of a text; a text of fewer words is one shingle."""
    if len(tokens) <= ngram:
        return frozenset([tuple(tokens)])
    return frozenset(zip(*(tokens[start:] for start in range(ngram)), strict=False))


def jaccard(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    """|A and B| / |A or B|."""
    common = len(one & other)
    return common / (len(one) + len(other) - common)


def band_keys(texts: Sequence[Sequence[str]], rules: NearDuplicateParams) -> NDArray[np.uint64]:
    """One key a band [N, bands]: texts that share a key in the same band are candidates."""
    from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue] a Rust module

    if not texts:
        return np.empty((0, rules.bands), np.uint64)
    hashes, offsets = shingle_hashes(texts, rules.ngram)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(
        hashes, offsets, rules.bands * rules.rows, _MINHASH_SEED
    )
    minima = np.asarray(matrix.to_rows(), np.uint64).reshape(len(texts), rules.bands, rules.rows)
    keys = np.zeros((len(texts), rules.bands), np.uint64)
    for row in range(rules.rows):
        keys = mixed(keys ^ minima[:, :, row])
    return keys


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of 64 bits that spreads neighboring values (multiply, fold)."""
    values = (values + np.uint64(1)) * _MIX
    return values ^ (values >> np.uint64(29))


def shingle_hashes(
    texts: Sequence[Sequence[str]], ngram: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Hashes of the n-grams of all texts one after the other, and where each text starts."""
    from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue] a Rust module

    hashed, counts = [], []
    for tokens in RMinHash.hash_token_sets([list(text) or [""] for text in texts]):
        word_hashes = np.asarray(tokens, np.uint64)
        num = max(len(tokens) - ngram + 1, 1)
        rolled = np.zeros(num, np.uint64)
        for start in range(min(ngram, len(tokens))):
            rolled = mixed(rolled ^ word_hashes[start : start + num])
        hashed.append(rolled)
        counts.append(num)
    return np.concatenate(hashed), np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)


def band_rows(
    index: NDArray[np.int64], num_words: NDArray[np.int32], keys: NDArray[np.uint64]
) -> pa.RecordBatch:
    """`band_keys` of some texts as rows of the table `bands`, one a text and band."""
    num, bands = keys.shape
    columns = [
        np.repeat(index, bands),
        np.repeat(num_words, bands),
        np.tile(np.arange(bands, dtype=np.uint8), num),
        keys.ravel(),
    ]
    return pa.record_batch([pa.array(column) for column in columns], schema=BANDS)


def find_exact(db: Database) -> None:
    """From `documents` (index, num_words, key, reason) to `exact` (index, other): the texts of
    which another one with the same key is kept, the longest, of equally long ones the first."""
    db.run("""
        create table exact as
        with best as (
            select key, arg_min(index, (-num_words, index)) as other
            from documents where reason = '' group by key having count(*) > 1
        )
        select index, other from documents join best using (key)
        where reason = '' and index <> other
    """)


def find_near(
    db: Database, words_of: Callable[[int], Sequence[str]], rules: NearDuplicateParams
) -> None:
    """From `bands` (index, num_words, band, key) to `near` (index, other): each text that a kept
    one resembles by at least the threshold, with every such one. A text without any is kept.

    The longest text is judged first, of equally long ones the first. They come in groups, whose
    candidates among the texts kept before are found at once.

    Args:
        words_of: the words of a text by its index.
    """
    db.run("create table shared as select band, key from bands group by all having count(*) > 1")
    db.run("create table pending as from bands semi join shared using (band, key)")
    db.run("create table kept (index bigint, band utinyint, key ubigint)")
    db.run("create table near (index bigint, other bigint)")
    # Texts at the threshold share bands * threshold^rows keys on average: far fewer is no match.
    least = max(1, int(0.25 * rules.bands * rules.threshold**rules.rows))

    @lru_cache(maxsize=RECENT)
    def shingles_of(index: int) -> frozenset[tuple[str, ...]]:
        return shingles(words_of(index), rules.ngram)

    def alike(one: int, other: int) -> bool:
        return jaccard(shingles_of(one), shingles_of(other)) >= rules.threshold

    total = db.value("select count(distinct index) from pending")
    best_first = "from pending order by num_words desc, index, band"
    shown = total >= SHOWN_FROM
    with Progress(total=total, desc="duplicates", unit="documents", enabled=shown) as bar:
        for group in _whole_documents(db.batches(best_first)):
            kept, near = _judge(group, _kept_before(db, group, least), alike, least)
            db.add("kept", group.select(["index", "band", "key"]).filter(pa.array(kept)))
            db.add("near", near)
            bar.update(len(group["index"].unique()))
    db.drop("shared", "pending", "kept", "judged")


def _whole_documents(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows in tables that end with a document."""
    rest: list[pa.RecordBatch] = []
    for batch in batches:
        index = batch["index"].to_numpy()
        last = int(np.argmax(index == index[-1]))  # this document may go on in the next batch
        if last:
            yield pa.Table.from_batches([*rest, batch.slice(0, last)])
            rest = []
        rest.append(batch.slice(last))
    if rest:
        yield pa.Table.from_batches(rest)


def _kept_before(db: Database, group: pa.Table, least: int) -> Iterator[tuple[int, list[int]]]:
    """Texts of this group with those kept before that share at least so many of their keys; in the
    order of the group, one at a time: a key may stand in very many texts."""
    db.run("create or replace table judged as from pending limit 0")
    db.add("judged", group)
    rows = db.batches(f"""
        select judged.index, kept.index as other from judged join kept using (band, key)
        group by judged.num_words, judged.index, kept.index having count(*) >= {least}
        order by judged.num_words desc, judged.index, kept.index
    """)
    pairs = (pair for batch in rows for pair in zip(*batch.to_pydict().values(), strict=True))
    for index, mine in groupby(pairs, key=itemgetter(0)):
        yield index, [other for _, other in mine]


def _judge(
    group: pa.Table,
    before: Iterator[tuple[int, list[int]]],
    alike: Callable[[int, int], bool],
    least: int,
) -> tuple[list[bool], pa.Table]:
    """Which rows are of texts that are kept, and the pairs of the others."""
    kept: list[bool] = []
    pairs: dict[str, list[int]] = {"index": [], "other": []}
    within: dict[tuple[int, int], list[int]] = defaultdict(list)  # key -> texts of this group
    columns = (group[name].to_pylist() for name in ("index", "band", "key"))
    upcoming = next(before, None)
    for index, rows in groupby(zip(*columns, strict=True), key=itemgetter(0)):
        keys = [(band, key) for _, band, key in rows]
        shares = Counter(other for key in keys for other in within[key])
        candidates = [other for other, common in shares.items() if common >= least]
        if upcoming and upcoming[0] == index:
            candidates += upcoming[1]
            upcoming = next(before, None)
        others = [other for other in sorted(candidates) if alike(index, other)]
        pairs["index"] += [index] * len(others)
        pairs["other"] += others
        kept += [not others] * len(keys)
        if not others:
            for key in keys:
                within[key].append(index)
    return kept, pa.table(pairs, schema=PAIRS)


def find_clusters(db: Database) -> None:
    """From `exact` and `near` to `clusters` (index, cluster): the texts that pairs connect, with
    the smallest index that they lead to (labels spread to the neighbors and along themselves)."""
    db.run("""
        create table edges as
        with pairs as (from exact union all from near)
        from pairs union all select other, index from pairs
    """)
    db.run("""
        create table clusters as
        select index, least(index, min(other)) as cluster from edges group by index
    """)
    changed = 1
    while changed:
        db.run("""
            create or replace table nearer as
            with around as (
                select edges.index, min(cluster) as cluster
                from edges join clusters on clusters.index = edges.other group by edges.index
            )
            select clusters.index, clusters.cluster as before,
                least(around.cluster, further.cluster) as cluster
            from clusters join around on around.index = clusters.index
            join clusters as further on further.index = clusters.cluster
        """)
        changed = db.value("select count(*) from nearer where cluster <> before")
        db.run("create or replace table clusters as select index, cluster from nearer")
