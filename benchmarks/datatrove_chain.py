"""datatrove's own steps for the rules of the stage `corpus`; run by the Python that has it.

    python benchmarks/datatrove_chain.py FOLDER OUT TOKENIZER.json WORKERS

Written for comparison alone. FOLDER holds JSONL files with `text`. There is no step for the
language (datatrove's needs a downloaded model) and none for evaluation items.
"""

import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import C4QualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers.jsonl import JsonlWriter

LANGUAGE = "tur_Latn"
STOP_WORDS = """
    ve bir bu da de için ile çok daha gibi olarak olan ama ancak en her ne o kadar sonra var ise
    mi mı ya veya ki değil göre şey
"""


def main(source: str, out: Path, tokenizer: str, workers: int) -> None:
    config = MinhashConfig()
    files = len(list(Path(source).iterdir()))

    def run(name: str, steps: list, *, tasks: int = files) -> None:
        workers_now = min(workers, tasks)
        executor = LocalPipelineExecutor(
            steps, tasks=tasks, workers=workers_now, logging_dir=str(out / "logs" / name)
        )
        executor.run()

    def folder(name: str) -> str:
        return str(out / name)

    clean = [
        GopherRepetitionFilter(language=LANGUAGE),
        GopherQualityFilter(
            language=LANGUAGE,
            stop_words=STOP_WORDS.split(),
            min_doc_words=5,
            max_avg_word_length=12,
            max_non_alpha_words_ratio=0.5,
        ),
        C4QualityFilter(language=LANGUAGE, filter_no_terminal_punct=False, min_num_sentences=-1),
        PIIFormatter(),
    ]
    run("clean", [JsonlReader(source), *clean, JsonlWriter(folder("clean"))])
    signatures = MinhashDedupSignature(folder("signatures"), config=config, language=LANGUAGE)
    run("signatures", [JsonlReader(folder("clean")), signatures])
    buckets = MinhashDedupBuckets(folder("signatures"), folder("buckets"), config=config)
    run("buckets", [buckets], tasks=config.num_buckets)
    clusters = MinhashDedupCluster(folder("buckets"), folder("remove"), config=config)
    run("clusters", [clusters], tasks=1)
    kept = [MinhashDedupFilter(folder("remove")), JsonlWriter(folder("kept"))]
    run("kept", [JsonlReader(folder("clean")), *kept])
    encode = DocumentTokenizer(folder("ids"), tokenizer_name_or_path=tokenizer, eos_token=None)
    run("ids", [JsonlReader(folder("kept")), encode])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
