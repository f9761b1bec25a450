"""The n-gram model against a slow one written from the equations, and its sums by enumeration."""

import itertools
import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from diffutron.evaluation.kneser_ney import FALLBACK, KneserNey, Text, count_levels, discounts

VOCAB = 4


def seeded(documents: int, *, vocab: int, longest: int, seed: int = 0) -> list[list[int]]:
    """Documents in which short runs of tokens repeat, some of a single token."""
    dice = np.random.default_rng(seed)
    runs = [dice.integers(vocab, size=dice.integers(1, 4)).tolist() for _ in range(3 * vocab)]
    found = []
    for _ in range(documents):
        chosen = dice.zipf(1.5, size=longest) % len(runs)
        ids = [token for number in chosen for token in runs[number]]
        found.append(ids[: dice.integers(1, longest + 1)])
    return found


def model(documents, *, order, vocab=VOCAB, predicted=None):
    levels = count_levels(Text.of(documents), order=order, vocab_size=vocab)
    return KneserNey(levels, order=order, num_predicted=predicted or vocab)


class Dictionary:
    """p(token | context) by the equations of Chen & Goodman (1999), with the counts of Heafield et
    al. (2013) at the start of a document, which is the symbol `^`."""

    def __init__(self, documents, *, order, vocab):
        self.order, self.vocab = order, vocab
        grams = Counter()
        for ids in documents:
            text = ["^", *ids]
            for stop in range(2, len(text) + 1):
                for size in range(1, order + 1):
                    if stop - size >= 0:
                        grams[tuple(text[stop - size : stop])] += 1
        before = defaultdict(set)
        for gram in grams:
            before[gram[1:]].add(gram[0])
        self.followers = defaultdict(dict)
        for gram, count in grams.items():
            if len(gram) < order and gram[0] != "^":
                count = len(before[gram])
            self.followers[gram[:-1]][gram[-1]] = count
        self.d = {size: self.discounts(size) for size in range(order)}

    def discounts(self, size):
        followed = [tokens for context, tokens in self.followers.items() if len(context) == size]
        n = Counter(count for tokens in followed for count in tokens.values())
        if all(n[j] for j in (1, 2, 3, 4)):
            y = n[1] / (n[1] + 2 * n[2])
            found = [j - (j + 1) * y * n[j + 1] / n[j] for j in (1, 2, 3)]
            if all(0 < d <= j for j, d in enumerate(found, 1)):
                return [0, *found]
        return [0, *FALLBACK]

    def probability(self, token, text):
        """`text`: all that stands before, its first symbol `^`."""
        p = 1 / self.vocab
        for size in range(self.order):
            if size > len(text):
                break
            tokens = self.followers.get(tuple(text[len(text) - size :]), {})
            if tokens:
                d = self.d[size]
                total = sum(tokens.values())
                gamma = sum(d[min(count, 3)] for count in tokens.values()) / total
                count = tokens.get(token, 0)
                p = max(count - d[min(count, 3)], 0) / total + gamma * p
        return p


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("documents", [seeded(3, vocab=VOCAB, longest=6),
                                       seeded(150, vocab=9, longest=30)])  # fmt: skip
def test_it_is_the_equations(order, documents):
    vocab = 1 + max(map(max, documents))
    asked = [*documents[:20], *seeded(20, vocab=vocab, longest=12, seed=1)]
    found = model(documents, order=order, vocab=vocab).probability(Text.of(asked)).tolist()
    slow = Dictionary(documents, order=order, vocab=vocab)
    expected = []
    for ids in asked:
        text = ["^", *ids]
        expected.append(1.0)
        expected += [slow.probability(text[n], text[:n]) for n in range(1, len(text))]
    assert found == pytest.approx(expected, rel=1e-12)


def test_both_estimates_of_the_discounts_are_among_the_parity_cases():
    large = count_levels(Text.of(seeded(150, vocab=9, longest=30)), order=5, vocab_size=9)
    assert discounts(large[4].count) != FALLBACK
    small = count_levels(Text.of(seeded(3, vocab=VOCAB, longest=6)), order=5, vocab_size=VOCAB)
    assert discounts(small[4].count) == FALLBACK


@pytest.mark.parametrize("order", [1, 2, 5])
@pytest.mark.parametrize("documents", [4, 60])
def test_each_distribution_sums_to_one(order, documents):
    """Every context up to five tokens: seen, unseen, at the start of a document and within one."""
    made = model(seeded(documents, vocab=VOCAB - 1, longest=8), order=order)  # one token never seen
    contexts = [c for size in range(6) for c in itertools.product(range(VOCAB), repeat=size)]
    text = Text.of([[*context, token] for context in contexts for token in range(VOCAB)])
    lasts = np.flatnonzero(np.diff(text.place, append=0) <= 0)
    found = made.probability(text)[lasts].reshape(len(contexts), VOCAB)
    assert (found > 0).all()
    assert found.sum(axis=1) == pytest.approx(np.ones(len(contexts)), abs=1e-12)


def test_worked_by_hand():
    """[0, 1] and [0, 2], order 2, fallback discounts: ^0 stands twice, 01 and 02 once."""
    found = model([[0, 1], [0, 2]], order=2, vocab=4).probability(Text.of([[0, 1], [3, 0]]))
    # Order 1: 0, 1 and 2 follow one symbol each, so A = 3 and gamma = 3 x 0.5 / 3.
    seen, unseen = 0.5 / 3 + 0.5 / 4, 0.5 / 4
    first = (2 - 1.0) / 2 + 1.0 / 2 * seen
    second = (1 - 0.5) / 2 + 2 * 0.5 / 2 * seen
    other = 1.0 / 2 * unseen  # 3 was never first
    assert found.tolist() == pytest.approx([1, first, second, 1, other, seen])


def test_documents_never_run_into_each_other():
    """The order of the documents changes nothing, and no n-gram holds tokens of two."""
    documents = seeded(40, vocab=VOCAB, longest=9)
    asked = Text.of(seeded(10, vocab=VOCAB, longest=9, seed=2))
    first = model(documents, order=5).probability(asked)
    assert model(documents[::-1], order=5).probability(asked).tolist() == first.tolist()
    levels = count_levels(Text.of([[0, 1], [2, 3]]), order=3, vocab_size=VOCAB)
    symbols = VOCAB + 1
    pairs = [(key // symbols, key % symbols) for key in levels[1].keys.tolist()]
    assert pairs == [(0, 1), (0, 3), (1, 2), (3, 4)]  # tokens plus one; 0 is the begin
    assert levels[2].count.tolist() == [1, 1]


def test_orders_that_no_document_reaches_change_nothing():
    documents = [[1], [2], [1]]
    asked = Text.of([[1, 2, 0, 1], [2]])
    found = [model(documents, order=order).probability(asked) for order in (3, 5)]
    assert found[0].tolist() == found[1].tolist()
    assert all(0 < value <= 1 for value in found[0])


@pytest.mark.parametrize(
    "numbers",
    [(0, 0, 0, 0), (2, 1, 1, 0), (4, 1, 4, 1), (4, 2, 1, 3)],
    ids=["nothing", "no four", "D2 below zero", "D3+ below zero"],
)
def test_discounts_that_cannot_be_told_are_the_fallback(numbers):
    assert discounts(np.repeat([1, 2, 3, 4], numbers)) == FALLBACK


def test_discounts_of_counts_of_counts():
    counts = np.repeat([1, 2, 3, 4, 5], [40, 20, 10, 6, 99])
    assert discounts(counts) == pytest.approx((0.5, 2 - 3 * 0.5 * 10 / 20, 3 - 4 * 0.5 * 6 / 10))


def test_a_higher_order_tells_more_of_text_that_repeats_itself():
    documents = [[0, 1, 2, 3, 1, 0, 2] * 5 for _ in range(30)]
    asked = Text.of(documents[:2])
    bits = [-np.log2(model(documents, order=n).probability(asked)).mean() for n in (1, 2, 5)]
    assert bits[0] > bits[1] > bits[2]
    assert bits[0] == pytest.approx(math.log2(VOCAB), rel=0.2)
