"""The three forms of an instruction row: alpaca, Input/Output, and chats of `messages`."""

from dataclasses import dataclass
from typing import Any

from diffutron.data.sources.row_readers import BadLine, RawRow

ROLES = ("system", "user", "assistant")
CHAT_PHASE = 2  # of a chat that does not say `"phase": 1`


@dataclass(frozen=True, slots=True)
class Instruction:
    """One raw instruction row: what the user says and the expected answer.

    `turns` are the messages (role, content) before the answer, where they are more than one of the
    user: a conversation, or one with a system message. `prompt` is then all of them as one text.
    """

    prompt: str
    answer: str
    source: str
    file: str
    line: int
    turns: tuple[tuple[str, str], ...] = ()


def phase_of(values: dict[str, Any]) -> int | None:
    """Which phase a row belongs to: by its form, a chat by its field `phase`."""
    if "instruction" in values and "output" in values:
        return 1
    if "Input" in values and "Output" in values:
        return 2
    return values.get("phase", CHAT_PHASE) if "messages" in values else None


def instruction_of(row: RawRow, phase: int, *, source: str | None) -> Instruction | BadLine:
    """The instruction of a row of any of the three forms."""
    values = row.values
    if phase_of(values) != phase:
        why = "neither instruction/input/output nor Input/Output"
        return BadLine(row.file, row.line, why)
    source = source or values.get("source") or row.file.split(".")[0]
    if "messages" in values:
        return _chat(row, source)
    names = ("instruction", "input", "output") if phase == 1 else ("Input", "Output")
    texts: list[Any] = [values.get(name) for name in names]
    if phase == 1 and texts[1] is None:
        texts[1] = ""  # alpaca rows without input leave it out or empty
    if not isinstance(source, str) or not all(isinstance(text, str) for text in texts):
        return BadLine(row.file, row.line, f"{', '.join(names)} and source must be texts")
    prompt = "\n".join(part for part in texts[:-1] if part.strip())
    return Instruction(prompt, texts[-1], source, row.file, row.line)


def _chat(row: RawRow, source: Any) -> Instruction | BadLine:
    """A chat asks with all messages but the last, which is the answer that is learnt."""
    messages = row.values["messages"]
    fault = _fault(messages)
    if fault or not isinstance(source, str):
        return BadLine(row.file, row.line, fault or "source must be a text")
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
