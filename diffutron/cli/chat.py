"""`diffutron chat`: a conversation in the terminal, with the denoising shown live."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from diffutron.cli.model import PRESETS, ChatFormat, Device, Dtype, Model, Preset, Seed, user_errors

if TYPE_CHECKING:
    from rich.console import Console

    from diffutron.inference.results import Committed, Generated


def chat(
    model: Model,
    preset: Preset = None,
    memory: Annotated[int, typer.Option(min=0, help="Earlier exchanges the model sees.")] = 0,
    seed: Seed = 0,
    chat_format: ChatFormat = None,
    device: Device = None,
    dtype: Dtype = "float32",
) -> None:
    """Talk to a model and watch it denoise. An empty line or Ctrl-D ends."""
    with user_errors():
        from rich.console import Console

        from diffutron import api

        settings = PRESETS[preset] if preset else {}
        lm = api.load(model, device=device, dtype=dtype, chat_format=chat_format)
        ask = partial(api.generate, lm, seed=seed, **settings)
        console = Console()
        history: list[dict[str, str]] = []
        for question in _questions(console):
            asked = {"role": "user", "content": question}
            remembered = history[-2 * memory :] if memory else []
            try:
                answer = _answer(console, ask, [*remembered, asked])
            except ValueError as error:  # of this question; the conversation goes on
                console.print(f"error: {error}", markup=False)
                continue
            history += [asked, {"role": "assistant", "content": answer}]


def _questions(console: "Console") -> Iterator[str]:
    while True:
        try:
            question = console.input("[bold cyan]> [/]").strip()
        except (EOFError, KeyboardInterrupt):
            return
        if not question:
            return
        yield question


def _answer(
    console: "Console", ask: "Callable[..., list[Generated]]", messages: list[dict[str, str]]
) -> str:
    """The answer to as much of the conversation, from its end, as fits the model."""
    while True:
        try:
            return _answer_live(console, partial(ask, [messages]))
        except ValueError:
            if len(messages) == 1:
                raise
            messages = messages[2:]


def _answer_live(console: "Console", ask: "Callable[..., list[Generated]]") -> str:
    """Shows the canvas as it fills: dots are masks, greener is surer."""
    from rich.live import Live
    from rich.text import Text

    slots: dict[int, Text] = {}
    with Live(console=console, refresh_per_second=20, transient=True) as live:

        def watch(_row: int, events: "list[Committed]") -> None:
            for event in events:
                shown = "·" if event.text is None else event.text
                slots[event.position] = Text(shown, style=_color(event.confidence))
            places = range(max(slots) + 1)
            live.update(Text.assemble(*(slots.get(place, Text(" ·", "dim")) for place in places)))

        found = ask(watch=watch)
    console.print(Text(found[0].text))
    return found[0].text


def _color(confidence: float) -> str:
    sure = min(1.0, max(0.0, confidence))
    return f"rgb({round(230 - 180 * sure)},{round(150 + 60 * sure)},90)"
