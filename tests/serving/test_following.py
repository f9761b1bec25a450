"""From promotion to traffic: a version comes, is tried and takes over; nobody's answer is lost."""

import gc
import random
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest
import torch

import diffutron
from diffutron.runtime.errors import UserError
from diffutron.serving.following import Candidates, Follower, Refused
from diffutron.serving.metrics import Metrics
from diffutron.serving.traffic import Traffic

from .conftest import make_service, run_app

pytestmark = pytest.mark.slow


class Registry:
    """A source whose alias a test moves; `trouble` is what it says when it is away."""

    def __init__(self, folders: dict[int, Path]) -> None:
        self.folders, self.number, self.trouble = folders, 1, ""
        self.fetched: list[int] = []

    def version(self) -> int:
        if self.trouble:
            raise UserError(self.trouble)
        return self.number

    def download(self, version: int, folder: Path) -> Path:
        self.fetched.append(version)
        return shutil.copytree(self.folders[version], folder / "model")

    def verify(self, version: int, model: Path) -> None:
        if not (model / "model.safetensors").exists():
            raise UserError(f"version {version} has no weights")


def changed_copy(source: Path, folder: Path, change: Callable[[torch.Tensor], Any]) -> Path:
    """A model folder with other weights."""
    lm = diffutron.load(source, device="cpu")
    with torch.no_grad():
        for weight in lm.model.parameters():
            change(weight)
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tiny_model_dir, tmp_path_factory) -> dict[int, Path]:
    """1 and 2 are models, 3 gives no numbers, 4 has no weights, 5 is no model."""
    root = tmp_path_factory.mktemp("versions")
    other = changed_copy(tiny_model_dir, root / "2", lambda weight: weight.mul_(-0.9))
    broken = changed_copy(tiny_model_dir, root / "3", lambda weight: weight.fill_(torch.nan))
    shutil.copytree(tiny_model_dir, root / "4", ignore=shutil.ignore_patterns("*.safetensors"))
    odd = shutil.copytree(tiny_model_dir, root / "5")
    (odd / "config.json").write_text("[]")
    return {1: tiny_model_dir, 2: other, 3: broken, 4: root / "4", 5: odd}


@pytest.fixture
def registry(folders) -> Registry:
    return Registry(folders)


@contextmanager
def following(registry: Registry, **options: Any) -> Iterator[Any]:
    """A server that follows the registry: `.url`, `.look()`, `.lines`, `.models` (all loaded)."""
    metrics, models, lines = Metrics(), [], []

    def make(folder: Path, version: int) -> Any:
        lm = diffutron.load(folder, device="cpu")
        models.append(weakref.ref(lm.model))
        return make_service(lm, metrics, version=version, max_batch_tokens=2048, **options)

    candidates = Candidates(registry, make)
    traffic = Traffic(candidates.tried(registry.version()))
    follower = Follower(traffic, candidates, seconds=0.02, tell=lines.append)
    with run_app(traffic) as url:
        told = SimpleNamespace(url=url, lines=lines, models=models, traffic=traffic)
        told.follower, told.look = follower, follower.look
        told.ready = lambda: httpx.get(f"{url}/ready").json()
        told.client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        yield told


def until(holds: Callable[[], bool], what: str) -> None:
    given_up = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < given_up, what
        time.sleep(0.005)


def metric(server: Any, name: str) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"diffutron:{name} ")).split()[1])


def ask(client: openai.OpenAI, prompt: str, *, stream: bool, **options: Any) -> str:
    if not stream:
        return client.completions.create(model="tiny", prompt=prompt, **options).choices[0].text
    events = client.completions.create(model="tiny", prompt=prompt, stream=True, **options)
    return "".join(choice.text for event in events for choice in event.choices)


def test_a_request_is_answered_by_one_version_while_the_alias_moves(registry, folders) -> None:
    lms = [diffutron.load(folders[number], device="cpu") for number in (1, 2)]
    asked = []
    chance = random.Random(0)
    for _ in range(36):
        tokens = chance.choice([4, 8, 32])
        sampled = {"temperature": chance.choice([0.0, 1.0]), "seed": chance.randrange(100)}
        prompt = chance.choice(["Kedi", "Ankara nerede", "Yarın sabah erkenden"])
        asked.append((prompt, tokens, sampled, chance.random() < 0.5))
    expected = [
        [
            diffutron.generate(lm, [prompt], max_new_tokens=tokens, chat=False, **sampled)[0].text
            for lm in lms
        ]
        for prompt, tokens, sampled, _ in asked
    ]
    assert all(one != other for one, other in expected)
    answers: dict[int, str] = {}

    def work(numbers: range) -> None:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            for number in numbers:
                prompt, tokens, sampled, stream = asked[number]
                answers[number] = ask(client, prompt, stream=stream, max_tokens=tokens, **sampled)

    before = {*threading.enumerate()}
    with following(registry) as server, server.follower:
        passes = [metric(server, "passes_total")]
        clients = [threading.Thread(target=work, args=[range(n, 36, 6)]) for n in range(6)]
        for client in clients:
            client.start()
        while any(client.is_alive() for client in clients):
            registry.number = 3 - registry.number
            until(lambda: server.traffic.current.service.version == registry.number, "a move")
            passes.append(metric(server, "passes_total"))
        until(lambda: len(server.traffic.current.service.metrics.engines.at_work) == 1, "ends")
        assert len(answers) == 36
        assert passes == sorted(passes)
        assert len(passes) > 4
        assert metric(server, "versions_taken_total") == len(passes) - 1
        assert sum(model() is not None for model in server.models) == 1
    served_by = [expected[number].index(answer) for number, answer in sorted(answers.items())]
    assert {*served_by} == {0, 1}
    left = [thread.name for thread in {*threading.enumerate()} - before if not thread.daemon]
    assert not [name for name in left if name.startswith(("engine", "scorer", "ending", "follow"))]


def test_a_stream_ends_on_the_version_on_which_it_began(registry, folders) -> None:
    """The old engine works on beside the new one, and leaves with its last row."""
    old, new = (diffutron.load(folders[number], device="cpu") for number in (1, 2))
    options = {"max_new_tokens": 100, "num_steps": 100, "block_length": 1, "chat": False}
    (expected,) = diffutron.generate(old, ["Kedi"], temperature=1.0, seed=4, **options)
    (short,) = diffutron.generate(new, ["Ankara"], max_new_tokens=2, chat=False)
    body = {"num_steps": 100, "block_length": 1}
    with following(registry) as server:
        stream = server.client.completions.create(
            model="tiny", prompt="Kedi", max_tokens=100, temperature=1.0, seed=4, stream=True,
            extra_body=body,
        )  # fmt: skip
        events = iter(stream)
        text = next(events).choices[0].text + next(events).choices[0].text
        first = server.traffic.current.service.engine.thread
        registry.number = 2
        server.look()
        counted = metric(server, "passes_total")
        assert ask(server.client, "Ankara", stream=False, max_tokens=2, temperature=0) == short.text
        assert server.ready() == {"status": "ready", "model": "tiny", "version": 2}
        assert httpx.get(f"{server.url}/v1/models").json()["data"][0]["version"] == 2
        text += "".join(event.choices[0].text for event in events)
        assert text == expected.text
        until(lambda: not first.is_alive(), "the end of the first engine")
        until(lambda: server.models[0]() is None, "the end of the first model")
        assert metric(server, "passes_total") >= max(counted, expected.num_steps)
        assert metric(server, "model_version") == 2


@pytest.mark.parametrize("number", [3, 4, 5])
def test_a_version_that_fails_its_test_is_not_taken(registry, number) -> None:
    with following(registry) as server:
        registry.number = number
        server.look()
        server.look()
        assert registry.fetched == [1, number]  # tried once
        told = server.ready()
        assert (told["version"], told["refused"]["version"]) == (1, number)
        assert f"version {number} failed its test: " in told["refused"]["reason"]
        assert server.lines == [f"{told['refused']['reason']}; version 1 goes on"]
        assert metric(server, "versions_refused_total") == 1
        assert ask(server.client, "Kedi", stream=False, max_tokens=2)
        gc.collect()
        assert sum(model() is not None for model in server.models) == 1
        registry.number = 1
        server.look()
        assert server.ready() == {"status": "ready", "model": "tiny", "version": 1}
        registry.number = number  # it moved: tried again
        server.look()
        assert registry.fetched == [1, number, number]


def test_a_bad_first_version_is_an_error(registry) -> None:
    registry.number = 3
    with pytest.raises(Refused, match="version 3 failed its test"), following(registry):
        pass


def test_a_registry_that_is_away_changes_nothing(registry) -> None:
    with following(registry) as server:
        registry.trouble = "MLflow at http://x: no answer"
        for _ in range(3):
            server.look()
        assert server.ready()["registry"] == registry.trouble
        assert ask(server.client, "Kedi", stream=False, max_tokens=2)
        registry.trouble = ""
        for _ in range(3):
            server.look()
        assert server.lines == [
            "registry: MLflow at http://x: no answer; version 1 goes on",
            "registry: back; version 1 is served",
        ]
        assert "registry" not in server.ready()


def test_a_client_that_reads_no_further_does_not_keep_the_old_version(registry) -> None:
    with following(registry, timeout=0.5) as server:
        version = server.traffic.current
        with server.traffic.changed:
            version.num_requests += 1  # as of a response that cannot be sent
        registry.number = 2
        server.look()
        engine = version.service.engine
        until(lambda: not engine.thread.is_alive(), "the end of the first engine")
