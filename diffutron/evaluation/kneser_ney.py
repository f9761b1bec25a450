"""An n-gram model of token ids by modified Kneser-Ney smoothing; its distributions sum to one.

Chen & Goodman, "An empirical study of smoothing techniques for language modeling" (Computer Speech
and Language 13, 1999), the section on modified Kneser-Ney, their p_KN, gamma, D1, D2 and D3+. For
a token w after a context h of k - 1 tokens

    p_k(w | h) = (a(hw) - D(a(hw))) / A(h) + gamma(h) p_{k-1}(w | h'),    A(h) = sum_w a(hw)
    gamma(h) = (D1 N1(h) + D2 N2(h) + D3+ N3+(h)) / A(h)
    Dj = j - (j + 1) Y n_{j+1} / n_j,    Y = n1 / (n1 + 2 n2)

h' is h without its first token. Nj(h) counts the tokens w with a(hw) = j, and nj the n-grams of the
order with a = j. p_0 is uniform over the tokens that are predicted, and where h was never
continued p_k is p_{k-1}. `a` is the count at the highest order. Below it `a` is the number of
different tokens that stand before the n-gram. Nothing stands before an n-gram at the start of a
document, so `a` is its count there (Heafield et al. 2013, "Scalable modified Kneser-Ney language
model estimation", section 3).

An n-gram is a number: that of its first tokens among the n-grams one order below, times the number
of symbols, plus its last symbol. So 64 bits hold it at any order and vocabulary. Counting takes
about 120 bytes per token at its peak.

Shapes: P places of a text (one before each document, and its tokens), G n-grams of an order, C
contexts (the n-grams one order below), S documents.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

FALLBACK = (0.5, 1.0, 1.5)  # discounts where the text is too small to tell them; KenLM's
BEGIN = 0  # the symbol before each document; token t is the symbol t + 1


@dataclass(frozen=True)
class Level:
    """The n-grams of one order.

    keys: [G] sorted int64. count: [G] how often each stands in the text. different: [G] how many
    different tokens stand before it, or its count at the start of a document.
    """

    keys: np.ndarray
    count: np.ndarray
    different: np.ndarray


@dataclass(frozen=True)
class Text:
    """Documents as one array of symbols [P]; place: [P] how many symbols of its document stand
    before a symbol, so that a document begins where it is 0."""

    symbols: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, documents: Iterable[Sequence[int] | np.ndarray]) -> "Text":
        """documents: token ids, without the begin token."""
        parts, begin = [], np.array([BEGIN], np.int32)
        for ids in documents:
            parts += [begin, np.asarray(ids, np.int32) + 1]
        symbols = np.concatenate(parts)
        length = np.array([len(one) + 1 for one in parts[1::2]])
        start = np.repeat((np.cumsum(length) - length).astype(np.int32), length)
        return cls(symbols, np.arange(len(symbols), dtype=np.int32) - start)

    def ends(self, order: int) -> np.ndarray:
        """The places where an n-gram of this order ends; a document's begin is none of order 1."""
        return np.flatnonzero(self.place >= max(1, order - 1)).astype(np.int32)


def count_levels(text: Text, *, order: int, vocab_size: int) -> list[Level]:
    """The n-grams of the orders 1 to `order`; models of all these orders can be made from them."""
    num_symbols = vocab_size + 1
    count = np.bincount(text.symbols[text.ends(1)], minlength=num_symbols).astype(np.int32)
    found = [Level(np.arange(num_symbols), count, np.zeros_like(count))]
    number = text.symbols  # [P] of the n-gram of the order that ends at a place
    for k in range(2, order + 1):
        ends, before = text.ends(k), found[-1]
        keys = number[ends - 1].astype(np.int64) * num_symbols + text.symbols[ends]
        by_key = np.argsort(keys)
        ends, keys = ends[by_key], keys[by_key]
        is_first = np.diff(keys, prepend=-1) > 0
        first = np.flatnonzero(is_first)
        # Each different n-gram tells one token that stands before its last k - 1 tokens.
        before.different[:] = np.bincount(number[ends[first]], minlength=len(before.keys))
        if k > 2:
            starts = number[text.place == k - 2]
            before.different[:] += np.bincount(starts, minlength=len(before.keys))
        count = np.diff(first, append=len(keys)).astype(np.int32)
        found.append(Level(keys[first], count, np.zeros_like(count)))
        number = np.full(len(text.symbols), -1, np.int32)
        number[ends] = np.cumsum(is_first, dtype=np.int32) - 1
    return found


def discounts(adjusted: np.ndarray) -> tuple[float, float, float]:
    """D1, D2 and D3+ from the counts of an order; FALLBACK where a count of counts is zero or a
    discount falls outside of its range."""
    n1, n2, n3, n4 = (int((adjusted == j).sum()) for j in (1, 2, 3, 4))
    if 0 in (n1, n2, n3, n4):
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    inside = all(0 < value <= j for j, value in enumerate(found, 1))
    return found if inside else FALLBACK


class Order:
    """One order of a model: what the equations need of its n-grams and of their contexts."""

    def __init__(
        self, keys: np.ndarray, adjusted: np.ndarray, *, num_symbols: int, contexts: int
    ) -> None:
        """keys, adjusted: [G], an n-gram and its `a`. contexts: C."""
        self.keys, self.adjusted = keys, adjusted
        self.discount = np.array([0.0, *discounts(adjusted)])  # by `a`, up to 3
        context = keys // num_symbols
        self.total = np.bincount(context, adjusted, minlength=contexts)  # [C], A(h)
        held = np.bincount(context, self.discount[np.minimum(adjusted, 3)], minlength=contexts)
        self.gamma = np.ones(contexts)  # [C]; 1 where a context was never continued
        np.divide(held, self.total, out=self.gamma, where=self.total > 0)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The numbers of n-grams; -1 for those that the text did not hold."""
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, at, -1)

    def probability(self, gram: np.ndarray, context: np.ndarray, below: np.ndarray) -> np.ndarray:
        """p_k from p_{k-1}, of n-grams by number (-1: not seen) and their contexts."""
        a = np.where(gram >= 0, self.adjusted[gram], 0)
        known = (context >= 0) & (self.total[context] > 0)
        kept = (a - self.discount[np.minimum(a, 3)]) / np.where(known, self.total[context], 1.0)
        return kept + np.where(known, self.gamma[context], 1.0) * below


class KneserNey:
    """The model of one order from the levels of a text."""

    def __init__(self, levels: Sequence[Level], *, order: int, num_predicted: int) -> None:
        """num_predicted: how many tokens can be predicted; the text holds no other ones."""
        self.num_symbols = len(levels[0].keys)
        self.uniform = 1 / num_predicted
        self.orders = [
            Order(
                level.keys,
                level.count if k == order else level.different,
                num_symbols=self.num_symbols,
                contexts=1 if k == 1 else len(levels[k - 2].keys),
            )
            for k, level in enumerate(levels[:order], 1)
        ]

    def probability(self, text: Text) -> np.ndarray:
        """[P] of each token after all that stands before it in its document; 1 at the begins."""
        found = np.where(text.place > 0, self.uniform, 1.0)
        number = np.zeros(len(text.symbols), np.int64)  # the one context of order 1
        for k, order in enumerate(self.orders, 1):
            if not len(order.keys):
                break  # no document of the model is as long as this order
            ends = text.ends(k)
            context = number[ends - 1]
            gram = order.find(context * self.num_symbols + text.symbols[ends])
            found[ends] = order.probability(gram, context, found[ends])
            number = np.full(len(text.symbols), -1 if k > 1 else BEGIN, np.int64)
            number[ends] = gram
        return found
