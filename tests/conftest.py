"""What every test shares: an empty folder to work in, no network, one seeded tiny model."""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.project import built_files_refused, copy_project

os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    DO_NOT_TRACK="true",
    MLFLOW_DISABLE_TELEMETRY="true",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    TOKENIZERS_PARALLELISM="false",
    DIFFUTRON_TRACKING="off",  # a process for each stage; tests that look at it turn it on
)

SENTENCES = [
    "Ankara Türkiye'nin başkentidir.",
    "Kedi bahçede uyuyor, köpek evde bekliyor.",
    "İstanbul'da ılık bir rüzgâr esiyor.",
    "Öğretmen kitabı öğrencilere okudu.",
    "Çocuklar ağacın altında oynuyorlar mı?",
    "Yarın sabah erkenden yola çıkacağız.",
]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """In CI no test of real servers or of the browser may be skipped: that is a failure."""
    report: Any = yield
    needed = any(item.get_closest_marker(name) for name in ("infra", "e2e", "paper"))
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if skipped and needed and os.environ.get("CI") == "true":
        report.outcome, report.longrepr = "failed", f"{item.name}: skipped, which CI does not allow"
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs a Prefect server is slow: `make quick` starts none. Slow files come first.

    A process takes a whole file, so that a slow one at the end would leave the other process idle.
    """
    slow: Counter[Path] = Counter()
    for item in items:
        if "prefect_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
        slow[item.path] += item.get_closest_marker("slow") is not None
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session", autouse=True)
def _away_from_the_clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fixtures of a session or a file begin in an empty folder too."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("empty"))
    with built_files_refused():
        yield
    os.chdir(before)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A test works in an empty folder, and sees no data folder, server or store of the user."""
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith(("DIFFUTRON_", "MLFLOW_TRACKING_", "PREFECT_API_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DIFFUTRON_TRACKING", "off")


@pytest.fixture(autouse=True)
def _leaves_nothing_in_the_project(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test leaves at the top of the shared `repo` fails that test, not a later one."""
    yield
    if "repo" in request.fixturenames:
        folder, names = request.getfixturevalue("_project")
        left = {*os.listdir(folder)} - names
        names |= left  # the next test is not to blame
        assert not left, f"left in the shared `repo`: {sorted(left)}; work in a copy of your own"


@pytest.fixture(autouse=True)
def _lets_torch_compile() -> Iterator[None]:
    """A test that stops `torch.compile` for the rest of the process fails, not a later one."""
    yield
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    if dynamo and dynamo._stance.stance != "default":
        left = dynamo._stance.stance
        dynamo._set_stance(dynamo.DynamoStance())  # the next test is not to blame
        raise AssertionError(f"left torch.compiler.set_stance({left!r}); use it as a `with` block")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A hub on loopback, what it is asked, its faults on demand; the cache is empty.

    `hub.store.folder` holds the repositories. Tries that fail are not waited for.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    from tests.support.fake_hub import serve

    with serve(tmp_path / "hub") as hub:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        impatient = SimpleNamespace(**vars(time) | {"sleep": lambda seconds: None})
        monkeypatch.setattr("diffutron.runtime.hub.sleep", impatient.sleep)
        for module in ("utils._http", "file_download"):
            monkeypatch.setattr(f"huggingface_hub.{module}.time", impatient)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        close_session()  # it remembers whether it is offline
        yield hub
    close_session()


@pytest.fixture(scope="session")
def _project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """The folder of `repo`, and the names at its top before any test."""
    folder = copy_project(tmp_path_factory.mktemp("project"))
    return folder, {*os.listdir(folder)}


@pytest.fixture(scope="session")
def repo(_project: tuple[Path, set[str]]) -> Path:
    """The committed files of this project, and nothing that a build wrote beside them.

    Tests share it and write nothing there; one that does takes `copy_project` of its own.
    """
    return _project[0]


@pytest.fixture(scope="session")
def demo_values(repo: Path) -> dict:
    """The values of the demo profile, plain; copy before changing."""
    from diffutron.runtime.yaml_files import read_yaml

    return read_yaml(repo / "infra" / "profiles" / "demo.yaml")


@pytest.fixture
def make_params(demo_values):
    """`make_params({"pretrain.training.steps": 4})`: the demo's parameters with changes."""
    import copy

    from diffutron.config.params import parse_params

    def make(changes: dict | None = None):
        values = copy.deepcopy(demo_values)
        for key, value in (changes or {}).items():
            *path, last = key.split(".")
            section = values
            for part in path:
                section = section[part]
            section[last] = value
        return parse_params(values, origin="test")

    return make


@pytest.fixture(scope="session")
def tiny_tokenizer_dir(tmp_path_factory: pytest.TempPathFactory, demo_values: dict) -> Path:
    """A byte-level BPE of 400 tokens with the specials and chat template of a scratch build."""
    from diffutron.config.params import parse_params
    from diffutron.modeling.tokenizer import chat_template, train

    section = parse_params(demo_values, origin="test").tokenizer
    made = train(SENTENCES * 4, section.model_copy(update={"vocab_size": 400}))
    made.chat_template = chat_template("compact")
    folder = tmp_path_factory.mktemp("tiny") / "tokenizer"
    made.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path) -> Path:
    """A seeded random ModernBERT (2 layers, width 32) with the tiny tokenizer."""
    import torch
    from transformers import AutoTokenizer, ModernBertConfig, ModernBertForMaskedLM

    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer_dir)
    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        global_attn_every_n_layers=2,
        local_attention=16,
        max_position_embeddings=128,
        initializer_range=0.2,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        cls_token_id=tokenizer.bos_token_id,
        sep_token_id=tokenizer.eos_token_id,
    )
    folder = tmp_path_factory.mktemp("tiny") / "model"
    ModernBertForMaskedLM(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_model_dir: Path) -> tuple[Any, Any]:
    """The seeded random model and its tokenizer."""
    from diffutron.modeling.encoder import load_model
    from diffutron.modeling.tokenizer import load_tokenizer

    return load_model(tiny_model_dir, made_by="test").eval(), load_tokenizer(tiny_model_dir)
