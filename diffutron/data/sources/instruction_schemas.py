"""The three forms of an instruction row: alpaca, Input/Output, and chats of `messages`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffutron.data.sources.row_readers import BadLine, RawRow

ROLES = ("system", "user", "assistant")
FORMS = {  # what a row of each form must hold, and its phase
    ("instruction", "output"): 1,
    ("Input", "Output"): 2,
    ("messages",): 2,  # of a chat that does not say `"phase": 1`
}
COLUMNS = ("instruction", "input", "output", "Input", "Output", "messages", "phase", "source")
NO_FORM = "neither instruction/input/output nor Input/Output nor messages (role, content)"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One raw instruction row: what the user says and the expected answer.

    `turns` are the messages (role, content) before the answer, where they are more than one of the
    user: a conversation, or one with a system message. `prompt` is then all of them as one text.
    A `translation` is in several languages.
    """

    prompt: str
    answer: str
    source: str
    file: str
    line: int
    turns: tuple[tuple[str, str], ...] = ()
    translation: bool = False


def form_of(values: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Which of the forms a row has: what it holds counts, as tables have every column in each row.

    An empty text is there, but says less than one that is not.
    """
    there = {name for name, value in values.items() if value is not None and value == value}
    filled = {name for name in there if values[name] not in ("", [])}
    return next((form for had in (filled, there) for form in FORMS if had >= set(form)), None)


def phase_of(values: Mapping[str, Any]) -> int | None:
    """Which phase a row belongs to: by its form, a chat by its field `phase`; None for no form or
    a phase that there is not."""
    form = form_of(values)
    if form is None:
        return None
    stated = values.get("phase") if form == ("messages",) else None
    if stated is None or stated != stated or stated == "":
        return FORMS[form]
    return {"1": 1, "2": 2, "1.0": 1, "2.0": 2}.get(str(stated).strip())


def instruction_of(row: RawRow, phase: int, *, source: str | None) -> Instruction | BadLine:
    """The instruction of a row of any of the three forms."""
    values = row.values
    form = form_of(values)
    if form is None or phase_of(values) is None:
        why = NO_FORM if form is None else f"phase is 1 or 2, not {values['phase']!r}"
        return BadLine(row.file, row.line, why)
    if phase_of(values) != phase:
        return BadLine(row.file, row.line, f"a row of phase {phase_of(values)}, not {phase}")
    source = source or values.get("source") or row.file.split(".")[0]
    if not isinstance(source, str):
        return BadLine(row.file, row.line, "source must be a text")
    if form == ("messages",):
        return _chat(row, source)
    names = ("instruction", "input", "output") if phase == 1 else form
    texts: list[Any] = [values.get(name) for name in names]
    if phase == 1 and (texts[1] is None or texts[1] != texts[1]):
        texts[1] = ""  # alpaca rows without input leave it out or empty
    if not all(isinstance(text, str) for text in texts):
        return BadLine(row.file, row.line, f"{', '.join(names)} must be texts")
    prompt = "\n".join(part for part in texts[:-1] if part.strip())
    return Instruction(prompt, texts[-1], source, row.file, row.line)


def _chat(row: RawRow, source: str) -> Instruction | BadLine:
    """A chat asks with all messages but the last, which is the answer that is learnt."""
    messages = row.values["messages"]
    if fault := _fault(messages):
        return BadLine(row.file, row.line, fault)
    *before, last = [(one["role"], one["content"]) for one in messages]
    prompt = "\n".join(content for _, content in before)
    turns = () if [role for role, _ in before] == ["user"] else tuple(before)
    return Instruction(prompt, last[1], source, row.file, row.line, turns)


def _fault(messages: Any) -> str | None:
    """What keeps a list of messages from being a chat, or None."""
    if not isinstance(messages, list) or not all(
        isinstance(one, dict) and isinstance(one.get("content"), str) for one in messages
    ):
        return "messages must be a list of objects with a role and a content"
    roles = [one.get("role") for one in messages]
    if set(roles) - set(ROLES):
        return f"roles are {', '.join(ROLES)}"
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if turns != ["user", "assistant"] * (len(turns) // 2) or not turns:
        return "messages must be of user and assistant in turn, the last one of the assistant"
    return None
