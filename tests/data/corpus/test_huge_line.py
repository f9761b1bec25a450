"""A line of megabytes is dropped as too long before any step looks at it, in bounded memory."""

import json
import tracemalloc

from diffutron.data.corpus.document_steps import Cleaner
from diffutron.data.corpus.shards import batch_digest, clean_batch
from diffutron.data.sources.row_readers import read_file
from diffutron.data.sources.sources import document_of

SENTENCE = "Ilık bir öğle vaktiydi, şişman ördek göle doğru yürüdü. "
MEGABYTES = 6


def test_memory_stays_below_ten_times_the_line(tmp_path, make_params, tiny_tokenizer_dir):
    cleaner = Cleaner(make_params().corpus, tiny_tokenizer_dir, [])
    seen: list[str] = []
    encode = cleaner.encode
    cleaner.encode = lambda texts: seen.extend(texts) or encode(texts)
    path = tmp_path / "a.jsonl"
    text = SENTENCE * (MEGABYTES * 2**20 // len(SENTENCE.encode()))
    with path.open("w", encoding="utf-8") as stream:
        for one in (SENTENCE * 8, text, SENTENCE * 9):
            stream.write(json.dumps({"text": one}, ensure_ascii=False) + "\n")
    del text
    tracemalloc.start()
    documents = [document_of(row) for row in read_file(path)]
    batch_digest(documents, "recipe")
    clean_batch(documents, cleaner)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * path.stat().st_size
    rows, _ = cleaner.clean(documents)
    assert [row.reason == "too_long" for row in rows] == [False, True, False]
    assert rows[1].rule == "more than 200000 characters"
    assert max(map(len, seen)) < 1000
