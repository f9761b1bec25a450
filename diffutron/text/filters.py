"""Rules that say from a text alone whether it is worth reading, after Gopher (Rae et al. 2021,
table A1) and C4 (Raffel et al. 2020), with thresholds for Turkish in `params.yaml`.

Words of an agglutinative language are longer and function words rarer than in English, so neither
the limits nor the word list of the papers fit as they are.
"""

import re
from collections import Counter
from collections.abc import Sequence

from diffutron.config.data_params import QualityParams, RepetitionParams
from diffutron.text.turkish import turkish_lower

# The commonest function words of Turkish prose; longer prose without two of them is a list.
FUNCTION_WORDS = frozenset(
    ["ve", "bir", "bu", "da", "de", "için", "ile", "çok", "daha", "gibi", "olarak", "olan", "ama"]
    + ["ancak", "en", "her", "ne", "o", "kadar", "sonra", "var", "ise", "mi", "mı", "ya", "veya"]
    + ["ki", "değil", "göre", "şey"]
)
LONGEST = max(map(len, FUNCTION_WORDS))
_BULLET = re.compile(r"^(?:[-*•–▪◦·‣►]|\d{1,3}[.)])\s")
_ELLIPSIS = ("...", "…")
_ALPHANUMERIC = re.compile(r"[^\W_]")
_LETTER = re.compile(r"[^\W\d_]")
_PLACEHOLDER_TEXT = re.compile(r"lorem ipsum", re.IGNORECASE)
_LEFTOVER_LINE = re.compile(
    r"tüm hakları saklıdır|all rights reserved|çerez politika|gizlilik politikası"
    r"|kullanım koşulları|javascript'?[iı]? (?:etkin|aç)|tıklay[ıi]n|cookie",
    re.IGNORECASE,
)
LEFTOVER_WORDS = 12  # a longer line with such words is a sentence about them


def quality_reason(text: str, rules: QualityParams) -> str | None:
    """Why `text` is not prose (the name of the rule), or None.

    Limits on shares say nothing about a single sentence, so most rules ask for `min_words`.
    """
    words = [word for word in text.split() if _ALPHANUMERIC.search(word)]
    num = len(words)
    if sum(1 for word in words if _LETTER.search(word)) < rules.min_letter_words * max(num, 1):
        return "letters"
    if "\ufffd" in text or _PLACEHOLDER_TEXT.search(text):
        return "broken_text"
    if num < rules.min_words:
        return None
    if not rules.min_mean_word <= sum(map(len, words)) / num <= rules.max_mean_word:
        return "word_length"
    if text.count("#") + text.count("…") + text.count("...") > rules.max_symbol_share * num:
        return "symbols"
    if num >= rules.function_words_from:
        plain = {word.strip(".,;:!?\"'()") for word in words}
        common = FUNCTION_WORDS & {turkish_lower(word) for word in plain if len(word) <= LONGEST}
        if len(common) < rules.min_function_words:
            return "function_words"
    return _list_reason([line for line in text.split("\n") if line], rules)


def _list_reason(lines: Sequence[str], rules: QualityParams) -> str | None:
    if len(lines) < 3:
        return None
    if sum(1 for line in lines if _BULLET.match(line)) > rules.max_bullet_lines * len(lines):
        return "bullets"
    if sum(1 for line in lines if line.endswith(_ELLIPSIS)) > rules.max_ellipsis_lines * len(lines):
        return "ellipses"
    return None


def repetition_reason(text: str, rules: RepetitionParams) -> str | None:
    """Which rule of repetition `text` breaks, or None; short texts are left alone."""
    words = text.split()
    if len(words) < rules.min_words:
        return None
    lines = [line for line in text.split("\n") if line]
    repeated = sum(count - 1 for count in Counter(lines).values())
    if repeated > rules.max_duplicate_lines * len(lines):
        return "duplicate_lines"
    # Each word of a repeated n-gram occurs twice: a text of (almost) all different words has none.
    different = len(set(words)) / len(words)
    characters = sum(map(len, words))
    for n, most in enumerate(rules.max_top_ngram, start=2):
        if different < 1 - most / 2 and _top_share(words, n, characters) > most:
            return f"top_{n}gram"
    most = rules.max_duplicate_ngrams
    if different < 1 - most / 2 and _repeated_share(words, rules.ngram, characters) > most:
        return "duplicate_ngrams"
    return None


def _top_share(words: Sequence[str], n: int, characters: int) -> float:
    """Share of the characters in the commonest n-gram, where it occurs at all twice."""
    counts = Counter(zip(*(words[start:] for start in range(n)), strict=False))
    ngram, count = max(counts.items(), key=lambda item: (item[1], item[0]))
    return count * sum(map(len, ngram)) / characters if count > 1 else 0.0


def _repeated_share(words: Sequence[str], n: int, characters: int) -> float:
    """Share of the characters in words that stand in a second or later copy of an n-gram."""
    seen: set[tuple[str, ...]] = set()
    inside = [False] * len(words)
    for start, ngram in enumerate(zip(*(words[first:] for first in range(n)), strict=False)):
        if ngram in seen:
            inside[start : start + n] = [True] * n
        seen.add(ngram)
    return sum(len(word) for word, marked in zip(words, inside, strict=True) if marked) / characters


def drop_leftover_lines(text: str) -> str:
    """`text` without the short lines that a web page leaves behind (cookies, rights, "click")."""
    if "\n" not in text or not _LEFTOVER_LINE.search(text):
        return text
    lines = text.split("\n")
    kept = [
        line
        for line in lines
        if len(line.split()) > LEFTOVER_WORDS or not _LEFTOVER_LINE.search(line)
    ]
    return "\n".join(kept).strip()
