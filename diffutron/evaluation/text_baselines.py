"""What held-out text costs under models that count: the yardsticks for bits per byte.

They count the training split of the corpus, read the same documents as the models, and give a
probability to each token that a model predicts, the end token of a document among them. A language
model that does not beat the unigram model has learned no context. One that does not beat the
5-gram model has learned less than counting does.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffutron.data.token_store import Samples, read_documents
from diffutron.evaluation.kneser_ney import KneserNey, Text, count_levels
from diffutron.evaluation.perplexity import UNLIMITED, TextSet
from diffutron.evaluation.unigram import unigram_logprobs, unigram_nats
from diffutron.modeling.encoding import begin_ids, end_ids

ORDERS = {"bigram": 2, "five_gram": 5}
MAX_TOKENS = 20_000_000  # that n-grams are counted on: 2.5 GB of memory


def text_baselines(
    corpus: Path, tokenizer: Any, texts: Mapping[str, TextSet], *, seed: int
) -> tuple[dict[str, dict[str, float]], dict[str, int]]:
    """Bits per byte of each text set under `unigram`, `bigram` and `five_gram`, and how many
    training tokens each has counted.

    The unigram model counts every token, each once more than it occurs. The others are modified
    Kneser-Ney, on at most MAX_TOKENS: of a larger corpus they count documents drawn by the seed.
    """
    train = read_documents(corpus, "train", max_tokens=UNLIMITED)
    never = {tokenizer.mask_token_id, tokenizer.pad_token_id, *begin_ids(tokenizer)}
    never -= set(end_ids(tokenizer))
    logprobs = unigram_logprobs(train.ids, vocab_size=len(tokenizer), left_out=sorted(never))
    found = {
        kind: {"unigram": sum(unigram_nats(logprobs, np.asarray(ids)) for ids in each.ids)}
        for kind, each in texts.items()
    }
    skip = len(begin_ids(tokenizer))
    text = Text.of(train.tokens(number)[skip:] for number in drawn_documents(train, seed=seed))
    levels = count_levels(text, order=max(ORDERS.values()), vocab_size=len(tokenizer))
    for name, order in ORDERS.items():
        model = KneserNey(levels, order=order, num_predicted=len(tokenizer) - len(never))
        for kind, each in texts.items():
            found[kind][name] = -float(np.log(model.probability(Text.of(each.ids))).sum())
    counted = len(text.symbols) - int((text.place == 0).sum())
    bits = {
        kind: {name: nats / math.log(2) / sum(texts[kind].num_bytes) for name, nats in each.items()}
        for kind, each in found.items()
    }
    return bits, {"unigram": len(train.ids) - skip * len(train), **dict.fromkeys(ORDERS, counted)}


def drawn_documents(train: Samples, *, seed: int) -> Sequence[int]:
    """The numbers of all documents, or of so many, drawn without replacement, as have at most
    MAX_TOKENS together."""
    order = np.random.default_rng(seed).permutation(len(train))
    return np.sort(order[np.cumsum(train.length[order]) <= MAX_TOKENS]).tolist()
