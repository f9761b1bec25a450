"""What a row of each evaluation set must hold: the fields its task needs, by the hub's names."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Text = Annotated[str, Field(min_length=1)]


class Row(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class BelebeleRow(Row):
    flores_passage: Text
    question: Text
    mc_answer1: Text
    mc_answer2: Text
    mc_answer3: Text
    mc_answer4: Text
    correct_answer_num: Literal["1", "2", "3", "4"]


class ExamChoices(Row):
    text: Annotated[list[Text], Field(min_length=2)]
    label: list[str]


class ExamQuestion(Row):
    stem: Text
    choices: ExamChoices


class ExamsRow(Row):
    question: ExamQuestion
    answerKey: str

    @model_validator(mode="after")
    def answer_is_a_choice(self) -> "ExamsRow":
        choices = self.question.choices
        if len(choices.text) != len(choices.label):
            raise ValueError("`question.choices` has as many labels as texts")
        # A key that is no label scores index 3 (as the task file has it), which must exist.
        if self.answerKey.strip() not in choices.label and len(choices.text) < 4:
            raise ValueError(f"`answerKey` {self.answerKey!r} is none of {choices.label}")
        return self


class IronyRow(Row):
    text: Text
    label: Literal[0, 1]


class NewsRow(Row):
    text: Text
    label: Literal["sport", "magazine", "politics", "health", "economy"]


class NliRow(Row):
    premise: Text
    hypothesis: Text
    label: Literal[-1, 0, 1, 2]


class TwoWayNliRow(NliRow):
    label: Literal[0, 1]  # pyright: ignore[reportIncompatibleVariableOverride] a narrower set


class StsRow(Row):
    sentence1: Text
    sentence2: Text
    score: Annotated[float, Field(ge=0, le=5)]


class XcopaRow(Row):
    premise: Text
    choice1: Text
    choice2: Text
    question: Literal["cause", "effect"]
    label: Literal[0, 1]


def explain_row(error: ValidationError, row: Any) -> str:
    """The first fault of a row in one line."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        found = ", ".join(map(str, row)) if isinstance(row, dict) else type(row).__name__
        return f"field `{key}` is missing (found: {found})"
    value = repr(first["input"])
    subject = f"`{key}` = {value[:80]}: " if key else ""
    message = first["msg"].removeprefix("Value error, ")
    return subject + message[:1].lower() + message[1:]
