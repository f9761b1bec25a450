"""`diffutron serve`: a model over HTTP, with the clients of OpenAI's API."""

from typing import Annotated

import typer

from diffutron.cli.model import ChatFormat, Device, Dtype, Model, user_errors


def serve(
    model: Model,
    host: Annotated[
        str, typer.Option(help="Any other address needs a key in DIFFUTRON_API_KEY.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8400,
    max_batch_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens of a model pass; by default what the memory allows."),
    ] = None,
    max_rows: Annotated[
        int, typer.Option(min=1, help="Texts at work or waiting; beyond it clients get 429.")
    ] = 256,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that a request may take.")
    ] = 120.0,
    grace: Annotated[
        float, typer.Option(min=1, help="Seconds for what runs when the server is stopped.")
    ] = 30.0,
    poll: Annotated[
        float,
        typer.Option(min=0, help="Seconds between two looks at the alias of --model; 0 is never."),
    ] = 10.0,
    chat_format: ChatFormat = None,
    device: Device = None,
    dtype: Dtype = "float32",
) -> None:
    """Answer over HTTP as OpenAI's API does: chat, completions, infilling, scores."""
    with user_errors():
        from diffutron.serving.server import serve as run

        source = None
        if model.startswith("models:/") and "@" in model:
            from diffutron.registry.alias import Alias

            source = Alias(model)
        run(
            model,
            host=host,
            port=port,
            device=device,
            dtype=dtype,
            chat_format=chat_format,
            max_batch_tokens=max_batch_tokens,
            max_rows=max_rows,
            timeout=timeout,
            grace=grace,
            tell=lambda line: typer.echo(line),
            source=source,
            poll=poll,
        )
