"""`POST /v1/systemone`: typed questions about a state, in the form of transformers' own server.

What a request may hold and what is answered is `transformers.decision`. The prompt is ours: the
state, the instructions and what the criteria say of the options; nothing lists the options. Scored
is the name of an option of a `choice`, the text of a level of a `score`, and for a `noul` yes or no
in Turkish.
"""

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from transformers.decision.configuration_utils import DecisionConfig
from transformers.decision.template_utils import Question as Typed
from transformers.decision.template_utils import parse_questions

from diffutron.inference.decisions import YES_NO, Question, decision, encode_questions
from diffutron.modeling.encoding import EncodedPair
from diffutron.serving.bodies import Text
from diffutron.serving.service import Service

MAX_OPTIONS = 64  # of a question
# transformers checks that there are as many labels as options; none of them is read here
LABELS = [str(number) for number in range(MAX_OPTIONS)]
CONFIG = DecisionConfig(labels={kind: LABELS for kind in Typed.questions_types})


class DecisionBody(BaseModel):
    """The body of `POST /v1/systemone`."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    model: str | None = None
    state: Text | dict[str, Any] | list[Any]
    questions: Annotated[dict[Text, dict[str, Any]], Field(min_length=1, max_length=64)]
    assets: dict[str, Any] = Field(default_factory=dict)


async def decide(service: Service, body: DecisionBody) -> dict[str, Any]:
    """The answer to a request. Raises ApiError."""
    asked = await service.plan(read_questions, body)
    encoded = await service.plan(lambda _: _encode(service, asked), body)
    scores = await service.score_options(encoded)
    answers: dict[str, Any] = {}
    for (typed, question), found in zip(asked, scores, strict=True):
        shares = decision(service.lm, question, found).probabilities
        answers[typed.name] = typed.answer([*shares.values()])
    tokens = sum(
        len(pairs[0].context) + sum(len(pair.continuation) for pair in pairs) for pairs in encoded
    )
    return {
        "model": body.model or service.name,
        "answers": answers,
        "usage": {"input_tokens": tokens, "output_tokens": 0},
    }


def read_questions(body: DecisionBody) -> list[tuple[Typed, Question]]:
    """The questions of a request as transformers types them, and as they are asked here.

    Raises ValueError naming the field.
    """
    if body.assets:
        raise ValueError("assets: this model reads text alone")
    try:
        state = _text(body.state)
        try:
            typed = parse_questions(body.questions, CONFIG)
        except ValueError as error:
            raise ValueError(f"questions: {error}") from error
        return [(one, _ask(state, one)) for one in typed]
    except RecursionError as error:
        raise ValueError("body: state and questions are nested too deeply") from error


def _ask(state: str, typed: Typed) -> Question:
    """In the prompt the options stand in the order of their names, or of their levels."""
    told = [_text(description) for description in typed.descriptions]
    if typed.type == "score":
        options, lines = told, []
    else:
        names = [*YES_NO] if typed.type == "noul" else typed.options
        lines = [f"{name}: {text}" for name, text in zip(names, told, strict=True) if text]
        options = names
    question = "\n".join(filter(None, [_text(typed.instructions), *sorted(lines)]))
    try:
        return Question.about(state, question, options)
    except ValueError as error:
        raise ValueError(f"questions: {typed.name}: {error}") from error


def _text(content: Any) -> str:
    """A text as it is, anything else as JSON, nothing as no text."""
    if content is None or isinstance(content, str):
        return content or ""
    try:
        return json.dumps(content, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise ValueError("body: it holds a number that is not finite") from error


def _encode(service: Service, asked: list[tuple[Typed, Question]]) -> list[list[EncodedPair]]:
    found: list[list[EncodedPair]] = []
    for typed, question in asked:
        with service.planner.lock:
            try:
                found += encode_questions(service.lm, [question])
            except ValueError as error:
                raise ValueError(f"questions: {typed.name}: {error}") from error
    return found
