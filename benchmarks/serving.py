"""The server over HTTP on loopback: tokens per second, latency, rows per pass, and equal texts.

    python -m benchmarks.serving --shape demo --clients 1,4,16,64 --json

The server is `diffutron serve` in a process of its own; the clients are in this one and share the
machine with it. Weights are random, and the special tokens are never drawn, so each text has
32 tokens. A client sends its next request when it has read the answer to the last one and has
paused; pauses are lognormal, their median is a quarter of the time of a text alone. A single
client does not pause: it is the server that is asked one thing at a time.
"""

import argparse
import asyncio
import contextlib
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

import diffutron
from benchmarks.parts.command import print_row
from benchmarks.parts.shapes import BOS, EOS, FIRST_TOKEN, MASK, PAD, SHAPES, Shape, new_model
from diffutron.inference.language_model import LanguageModel

DEMO = Shape(2500, 96, 4, 6, 192, 16)  # the model of profile demo
NEW_TOKENS = 32
PROMPTS = 32  # different ones
SPREAD = 1.0  # sigma of a pause's logarithm
NEVER = -1e4  # logit of a special token
SPECIAL = {"<pad>": PAD, "<eos>": EOS, "<bos>": BOS, "<unk>": 3, "<mask>": MASK}


def write_model(shape: Shape, folder: Path) -> None:
    """Random weights, and a tokenizer in which each word w5, w6, ... is one token."""
    model = new_model(shape)
    with torch.no_grad():
        model.decoder.bias[list(SPECIAL.values())] = NEVER
    model.save_pretrained(folder)
    words = {f"w{number}": number for number in range(FIRST_TOKEN, shape.vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(SPECIAL | words, unk_token="<unk>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", BOS), ("<eos>", EOS)]
    )
    named = {f"{name.strip('<>')}_token": name for name in SPECIAL}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)


def new_prompts(shape: Shape) -> list[str]:
    """Texts of 8 to 40 words."""
    chance = random.Random(0)  # noqa: S311
    return [
        " ".join(
            f"w{chance.randrange(FIRST_TOKEN, shape.vocab_size)}"
            for _ in range(chance.randint(8, 40))
        )
        for _ in range(PROMPTS)
    ]


@dataclass(frozen=True)
class Offline:
    """What `diffutron.generate` makes of the prompts, one after the other."""

    lm: LanguageModel
    prompts: list[str]
    texts: dict[str, str]
    seconds_per_text: float

    def batched_gain(self, batch_size: int) -> float:
        """How many times faster all prompts are in batches, without any server."""
        started = time.perf_counter()
        _generate(self.lm, self.prompts, batch_size=batch_size)
        return self.seconds_per_text * len(self.prompts) / (time.perf_counter() - started)


def _generate(lm: LanguageModel, prompts: Sequence[str], *, batch_size: int) -> list[str]:
    found = diffutron.generate(
        lm, prompts, max_new_tokens=NEW_TOKENS, chat=False, batch_size=batch_size
    )
    return [one.text for one in found]


def offline(folder: Path, prompts: list[str]) -> Offline:
    lm = diffutron.load(folder, device="cpu")
    _generate(lm, prompts[:1], batch_size=1)
    started = time.perf_counter()
    texts = _generate(lm, prompts, batch_size=1)
    seconds = (time.perf_counter() - started) / len(prompts)
    return Offline(lm, prompts, dict(zip(prompts, texts, strict=True)), seconds)


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """The address of `diffutron serve`."""
    command = [sys.executable, "-m", "diffutron", "serve", "--model", str(folder), "--port", "0"]
    command += ["--device", "cpu", "--max-rows", "1000", "--timeout", "3600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith("serving"):
                raise SystemExit("the server has not started; its message stands above")
            yield line.split()[-1]
        finally:
            process.terminate()
            process.wait(60)


@dataclass(frozen=True)
class Reply:
    """equal: whether the text is the one of `generate`."""

    seconds: float
    tokens: int
    equal: bool


async def load_test(
    url: str, truth: Offline, *, num_clients: int, num_requests: int
) -> tuple[list[Reply], float]:
    """All replies, and the seconds from the first request to the last reply."""
    replies: list[Reply] = []
    left = iter(range(num_requests))

    async def ask(client: httpx.AsyncClient, number: int) -> Reply:
        prompt = truth.prompts[number % len(truth.prompts)]
        body = {"prompt": prompt, "max_tokens": NEW_TOKENS}
        started = time.perf_counter()
        reply = await client.post("/v1/completions", json=body)
        seconds = time.perf_counter() - started
        found = reply.raise_for_status().json()
        equal = found["choices"][0]["text"] == truth.texts[prompt]
        return Reply(seconds, found["usage"]["completion_tokens"], equal)

    async def one(client: httpx.AsyncClient, chance: random.Random) -> None:
        median = truth.seconds_per_text / 4
        for number in left:
            if num_clients > 1:
                await asyncio.sleep(chance.lognormvariate(math.log(median), SPREAD))
            replies.append(await ask(client, number))

    limits = httpx.Limits(max_connections=num_clients)
    async with httpx.AsyncClient(base_url=url, timeout=3600, limits=limits) as client:
        chances = [random.Random(number) for number in range(num_clients)]  # noqa: S311
        started = time.perf_counter()
        await asyncio.gather(*(one(client, chance) for chance in chances))
    return replies, time.perf_counter() - started


def counts(url: str) -> tuple[float, float]:
    """Model passes since the server started, and rows that took part in them."""
    lines = httpx.get(f"{url}/metrics", timeout=60).text.splitlines()
    told = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return float(told["diffutron:passes_total"]), float(told["diffutron:row_passes_total"])


def measure(shape: Shape, clients: Sequence[int], *, num_requests: int) -> Iterator[dict[str, Any]]:
    """A row for each number of clients; `over_one` compares with the first row.

    `offline_gain`: what batches of as many rows, at most PROMPTS, gain offline over one text at a
    time.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        write_model(shape, folder)
        truth = offline(folder, new_prompts(shape))
        gains = {count: truth.batched_gain(count) if count > 1 else 1.0 for count in clients}
        first = None
        with server(folder) as url:
            asyncio.run(load_test(url, truth, num_clients=2, num_requests=4))  # warms up
            for count in clients:
                before = counts(url)
                replies, seconds = asyncio.run(
                    load_test(
                        url, truth, num_clients=count, num_requests=max(num_requests, 2 * count)
                    )
                )
                passes, rows = (b - a for a, b in zip(before, counts(url), strict=True))
                speed = sum(reply.tokens for reply in replies) / seconds
                first = first or speed
                waits = [reply.seconds for reply in replies]
                different = sum(not reply.equal for reply in replies)
                yield {
                    "clients": count,
                    "tokens_per_s": round(speed, 1),
                    "p50_s": round(statistics.median(waits), 4),
                    "p99_s": round(statistics.quantiles(waits, n=100, method="inclusive")[98], 4),
                    "passes": int(passes),
                    "rows_per_pass": round(rows / passes, 2),
                    "equal": different == 0,
                    "different": different,
                    "requests": len(replies),
                    "over_one": round(speed / first, 3),
                    "offline_gain": round(gains[count], 3),
                }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shapes = {"demo": DEMO, "307m": SHAPES["307m"]}
    parser.add_argument("--shape", choices=shapes, required=True)
    parser.add_argument("--clients", default="1,4,16,64", help="how many at once, one row each")
    parser.add_argument(
        "--requests", type=int, default=64, help="of a row; two per client at least"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    given = parser.parse_args(arguments)
    try:
        clients = [int(count) for count in given.clients.split(",")]
    except ValueError:
        clients = [0]
    if min(clients) < 1 or given.requests < 1:
        parser.error("--clients: whole numbers from 1, as 1,4,16; --requests: at least 1")
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        print(f"{given.shape}, float32, {torch.get_num_threads()} threads")
        for row in measure(shapes[given.shape], clients, num_requests=given.requests):
            case = {} if given.json else {"case": f"{row['clients']} clients"}
            print_row({**case, **row, "shape": given.shape}, as_json=given.json, out=out)


if __name__ == "__main__":
    main()
