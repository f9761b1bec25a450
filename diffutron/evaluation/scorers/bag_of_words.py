"""A supervised yardstick: what the words alone tell, without their order, by scikit-learn.

It learns from the training split of the task, which no other system here has seen on purpose; so
it stands in a column of its own. News: the words of the text. Similarity: what two sentences share
and what they do not. Exams: which words right answers are made of.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffutron.evaluation.cetvel.prompts import exams_target, news_target, sts_target
from diffutron.evaluation.cetvel.questions import Question
from diffutron.evaluation.scorers.answer import Answer
from diffutron.text.turkish import words

Doc = dict[str, Any]
SEED = 0


def _vectorizer() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    analyzer: Any = words  # the stubs know names of analyzers only
    return TfidfVectorizer(analyzer=analyzer, sublinear_tf=True)


def _classifier() -> Any:
    from sklearn.svm import LinearSVC

    return LinearSVC(random_state=SEED)


def answer(task: str, training: Sequence[Doc], questions: Sequence[Question]) -> list[Answer]:
    """Learn from the rows `training` of `task` (one of `TASKS`), answer the questions."""
    return TASKS[task](training, questions)


def classify(texts: Sequence[str], labels: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Learn the label of a text from its words, give each asked text one of two or more labels."""
    vectorizer = _vectorizer()
    model = _classifier().fit(vectorizer.fit_transform(texts), labels)
    return model.predict(vectorizer.transform(asked)).tolist()


def _news(training: Sequence[Doc], questions: Sequence[Question]) -> list[Answer]:
    vectorizer = _vectorizer()
    features = vectorizer.fit_transform([doc["text"] for doc in training])
    model = _classifier().fit(features, [news_target(doc) for doc in training])
    asked = vectorizer.transform([one.doc["text"] for one in questions])
    return _answers(model, asked, questions)


def _similarity(training: Sequence[Doc], questions: Sequence[Question]) -> list[Answer]:
    vectorizer = _vectorizer()
    vectorizer.fit([doc[name] for doc in training for name in ("sentence1", "sentence2")])

    def features(docs: Sequence[Doc]) -> Any:
        from scipy.sparse import csr_matrix, hstack

        first = vectorizer.transform([doc["sentence1"] for doc in docs])
        second = vectorizer.transform([doc["sentence2"] for doc in docs])
        shared = first.multiply(second)
        cosine = csr_matrix(shared.sum(axis=1))
        return hstack([shared, abs(first - second), 5 * cosine]).tocsr()

    model = _classifier().fit(features(training), [sts_target(doc) for doc in training])
    return _answers(model, features([one.doc for one in questions]), questions)


def _answers(model: Any, features: Any, questions: Sequence[Question]) -> list[Answer]:
    """Class numbers are choice numbers; a class that the training lacks is never the answer."""
    margins = model.decision_function(features)
    if margins.ndim == 1:  # scikit-learn gives a single value where there are two classes
        margins = np.stack([-margins, margins], axis=1)
    found = []
    for row, one in zip(margins.tolist(), questions, strict=True):
        value = dict(zip(model.classes_.tolist(), row, strict=True))
        found.append(Answer.of_values([value.get(n, -1e9) for n in range(len(one.choices))]))
    return found


def _exams(training: Sequence[Doc], questions: Sequence[Question]) -> list[Answer]:
    from scipy.sparse import hstack

    choices, stems, right = [], [], []
    for doc in training:
        texts = doc["question"]["choices"]["text"]
        choices += texts
        stems += [doc["question"]["stem"]] * len(texts)
        right += [number == exams_target(doc) for number in range(len(texts))]
    vectorizer = _vectorizer().fit([*choices, *stems])

    def features(choices: Sequence[str], stems: Sequence[str]) -> Any:
        chosen = vectorizer.transform(choices)
        return hstack([chosen, chosen.multiply(vectorizer.transform(stems))]).tocsr()

    model = _classifier().fit(features(choices, stems), right)
    asked = [(choice, one.doc["question"]["stem"]) for one in questions for choice in one.choices]
    values = iter(model.decision_function(features(*zip(*asked, strict=True))).tolist())
    return [Answer.of_values([next(values) for _ in one.choices]) for one in questions]


TASKS = {"exams_tr": _exams, "news_cat": _news, "sts_tr": _similarity}
