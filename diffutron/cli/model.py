"""`diffutron generate | infill | decide | score`: use a model from the command line."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from diffutron.runtime.errors import UserError
from diffutron.runtime.files import write_json, write_text
from diffutron.runtime.json_lines import read_json_lines, require_unicode

if TYPE_CHECKING:
    from diffutron.inference.results import Generated

# The two published settings (steps, temperature, block and penalty are the paper's; it does not
# say how many tokens, so there is one a step).
PRESETS: dict[str, dict[str, Any]] = {
    "longer": {
        "max_new_tokens": 128,
        "num_steps": 128,
        "block_length": 32,
        "temperature": 0.1,
        "repetition_penalty": 1.2,
    },
    "shorter": {
        "max_new_tokens": 64,
        "num_steps": 64,
        "strategy": "low_confidence",
        "temperature": 0.0,
        "guidance": 0.0,
    },
}


Preset = Annotated[Literal["longer", "shorter"] | None, typer.Option(help="A published setting.")]
Model = Annotated[
    str, typer.Option("--model", help="Model folder, OWNER/NAME[@REVISION] or models:/NAME@ALIAS.")
]
Input = Annotated[
    Path | None,
    typer.Option("--input", help="JSONL file to read instead of arguments; - reads a pipe."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same text.")]
Steps = Annotated[int | None, typer.Option(help="Model passes for a text.")]
Tokens = Annotated[int | None, typer.Option(help="Length of an answer at most.")]
Block = Annotated[int | None, typer.Option(help="Tokens of a block; must divide the length.")]
Temperature = Annotated[float | None, typer.Option(help="0 takes the best token.")]
Strategy = Annotated[
    str | None,
    typer.Option(help="low_confidence, margin, entropy or random: what is filled first."),
]
Guidance = Annotated[float | None, typer.Option(help="Scale of classifier-free guidance.")]
Penalty = Annotated[float | None, typer.Option(help="Above 1: generated tokens come less again.")]
Threshold = Annotated[
    float | None, typer.Option(help="Fill every token that is surer than this in one step.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1; by default the GPU if any.")]

ChatFormat = Annotated[
    Literal["compact", "published"] | None,
    typer.Option(help="In place of the model's own; a published model may have none."),
]
Dtype = Annotated[
    Literal["float32", "bfloat16"], typer.Option(help="What to compute in; bfloat16 suits a GPU.")
]


def generate(
    model: Model,
    prompt: Annotated[str | None, typer.Argument(help="What to answer.")] = None,
    preset: Preset = None,
    input: Input = None,
    as_json: AsJson = False,
    trace: Annotated[
        Path | None,
        typer.Option(help="Write the denoising: a page (.html), a picture (.svg) or data (.json)."),
    ] = None,
    max_new_tokens: Tokens = None,
    num_steps: Steps = None,
    block_length: Block = None,
    temperature: Temperature = None,
    strategy: Strategy = None,
    threshold: Threshold = None,
    guidance: Guidance = None,
    repetition_penalty: Penalty = None,
    seed: Seed = 0,
    raw: Annotated[bool, typer.Option("--raw", help="Continue the text; no chat format.")] = False,
    chat_format: ChatFormat = None,
    device: Device = None,
    dtype: Dtype = "float32",
) -> None:
    """Answer prompts. An input line is {"prompt": "..."}; a pipe holds a prompt a line."""
    given = {
        "max_new_tokens": max_new_tokens,
        "num_steps": num_steps,
        "block_length": block_length,
        "temperature": temperature,
        "strategy": strategy,
        "threshold": threshold,
        "guidance": guidance,
        "repetition_penalty": repetition_penalty,
    }
    settings = PRESETS[preset] if preset else {}
    settings = settings | {name: value for name, value in given.items() if value is not None}
    prompts = [row["prompt"] for row in _rows(input, ("prompt",), (prompt,))]
    _check_trace(trace, num_prompts=len(prompts))
    with user_errors():
        from diffutron import api

        lm = api.load(model, device=device, dtype=dtype, chat_format=chat_format)
        if not raw and not lm.tokenizer.chat_template:
            print(
                f"{model} has no chat format, so the prompt is continued as plain text; choose one "
                "with --chat-format",
                file=sys.stderr,
            )
        found = api.generate(lm, prompts, seed=seed, chat=not raw, **settings)
    _print_texts("prompt", prompts, found, as_json=as_json)
    if trace is not None:
        _write_trace(trace, found)


def infill(
    model: Model,
    text: Annotated[str | None, typer.Argument(help="A text with [MASK] for each token.")] = None,
    input: Input = None,
    as_json: AsJson = False,
    num_steps: Steps = None,
    temperature: Annotated[float, typer.Option(help="0 takes the best token.")] = 0.0,
    seed: Seed = 0,
    device: Device = None,
    dtype: Dtype = "float32",
) -> None:
    """Fill the masks of texts. An input line is {"text": "..."}; a pipe holds a text a line."""
    texts = [row["text"] for row in _rows(input, ("text",), (text,))]
    with user_errors():
        from diffutron import api

        lm = api.load(model, device=device, dtype=dtype)
        found = api.infill(lm, texts, num_steps=num_steps, temperature=temperature, seed=seed)
    _print_texts("given", texts, found, as_json=as_json)


def decide(
    model: Model,
    question: Annotated[str, typer.Option(help="What is asked.")],
    option: Annotated[list[str], typer.Option(help="An answer that there may be; once for each.")],
    context: Annotated[
        str | None, typer.Option(help="What the question is about; it stands before it.")
    ] = None,
    as_json: AsJson = False,
    max_rows: Annotated[int, typer.Option(help="Model rows an option may cost.")] = 128,
    seed: Seed = 0,
    raw: Annotated[bool, typer.Option("--raw", help="Ask in plain text; no chat format.")] = False,
    chat_format: ChatFormat = None,
    device: Device = None,
    dtype: Dtype = "float32",
) -> None:
    """A probability for each option, the likeliest first. No text is generated."""
    with user_errors():
        from diffutron import api

        lm = api.load(model, device=device, dtype=dtype, chat_format=chat_format)
        chat = False if raw else True if chat_format else None
        found = api.decide(lm, question, option, context, chat=chat, max_rows=max_rows, seed=seed)
    if as_json:
        _print_json({"question": question, "context": context} | asdict(found))
        return
    for each, share in sorted(found.probabilities.items(), key=lambda pair: -pair[1]):
        typer.echo(f"{share:.4f}  {each}")


def score(
    model: Model,
    context: Annotated[str | None, typer.Argument(help="What comes before.")] = None,
    continuation: Annotated[str | None, typer.Argument(help="What is scored, as it is.")] = None,
    input: Input = None,
    as_json: AsJson = False,
    max_rows: Annotated[int, typer.Option(help="Model rows a continuation may cost.")] = 128,
    seed: Seed = 0,
    device: Device = None,
    dtype: Dtype = "float32",
) -> None:
    """Bound log p(continuation | context). An input line is {"context": "", "continuation": ""}."""
    rows = _rows(input, ("context", "continuation"), (context, continuation))
    pairs = [(row["context"], row["continuation"]) for row in rows]
    with user_errors():
        from diffutron import api

        lm = api.load(model, device=device, dtype=dtype)
        found = api.score(lm, pairs, max_rows=max_rows, seed=seed)
    for (before, after), value in zip(pairs, found, strict=True):
        if as_json:
            _print_json({"context": before, "continuation": after} | asdict(value))
        else:
            error = "exact" if value.exact else f"standard error {value.stderr:.4f}"
            typer.echo(
                f"{value.logprob:.4f} nats ({error}, {value.num_tokens} tokens, "
                f"{value.num_rows} rows)"
            )


@contextmanager
def user_errors() -> Iterator[None]:
    """A ValueError of the library names an argument: the user's to mend."""
    try:
        yield
    except ValueError as error:
        raise UserError(str(error)) from error


def _piped(keys: tuple[str, ...]) -> list[dict[str, str]]:
    """A text a line from standard input, if it comes from a pipe or a file."""
    if sys.stdin.isatty():
        return []
    return [{keys[0]: line.rstrip("\r\n")} for line in sys.stdin if line.strip()]


def _rows(
    path: Path | None, keys: tuple[str, ...], given: tuple[str | None, ...]
) -> list[dict[str, str]]:
    """The input as dicts with `keys`: one from the arguments, or one a line of the file."""
    wanted = " ".join(key.upper() for key in keys)
    if path is None:
        if piped := _piped(keys) if given == (None,) else []:
            return piped
        if any(value is None for value in given):
            raise UserError(f"give {wanted}, or --input FILE.jsonl")
        return [dict(zip(keys, (value or "" for value in given), strict=True))]
    if any(value is not None for value in given):
        raise UserError(f"give {wanted} or --input, not both")
    rows: list[dict[str, str]] = []
    try:
        for number, row in read_json_lines(Path("/dev/stdin") if path == Path("-") else path):
            if not isinstance(row, dict) or any(not isinstance(row.get(key), str) for key in keys):
                raise UserError(
                    f"{path}, line {number}: need an object with the texts {', '.join(keys)}"
                )
            try:
                require_unicode([row[key] for key in keys])
            except ValueError as error:
                raise UserError(f"{path}, line {number}: {error}") from error
            rows.append(row)
    except OSError as error:
        raise UserError(f"--input {path}: cannot be read ({error})") from error
    return rows


def _print_texts(name: str, asked: list[str], found: "list[Generated]", *, as_json: bool) -> None:
    for question, result in zip(asked, found, strict=True):
        if as_json:
            value = {name: question, "text": result.text, "token_ids": result.token_ids}
            _print_json(value | {"num_steps": result.num_steps})
        else:
            typer.echo(result.text)


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))


def _check_trace(path: Path | None, *, num_prompts: int) -> None:
    if path is None:
        return
    if path.suffix not in (".html", ".svg", ".json"):
        raise UserError(f"--trace {path}: need a name that ends in .html, .svg or .json")
    if path.suffix == ".svg" and num_prompts != 1:
        raise UserError(
            f"--trace {path}: a picture shows one prompt, and there are {num_prompts}; "
            "give one, or a name that ends in .html"
        )
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir() or not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise UserError(f"--trace {path}: no file can be written there; choose another path")


def _write_trace(path: Path, found: "list[Generated]") -> None:
    from diffutron.reporting.denoising.players import trace_page, trace_picture

    traces = [result.trace.as_dict() for result in found]
    if path.suffix == ".html":
        write_text(path, trace_page(traces))
    elif path.suffix == ".svg":
        write_text(path, trace_picture(traces[0]))
    else:
        write_json(path, traces)
    typer.echo(f"wrote {path}", err=True)
