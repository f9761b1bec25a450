"""The built-in sample: correct Turkish by a small grammar, without any download.

Running text, essays, two instruction sets and the seven evaluation sets, each a pure function of
a seed. What may be trained on and what is held out is decided by `partition`.
"""

from diffutron.sample.evaluation import TASKS, evaluation_set
from diffutron.sample.tasks import instructions
from diffutron.sample.words import is_word, word_forms
from diffutron.sample.writing import documents, essays
from diffutron.text.turkish import turkish_capitalize, turkish_lower, turkish_upper

__all__ = [
    "TASKS",
    "documents",
    "essays",
    "evaluation_set",
    "instructions",
    "is_word",
    "turkish_capitalize",
    "turkish_lower",
    "turkish_upper",
    "word_forms",
]
