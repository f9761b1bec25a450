"""`diffutron check` of the published settings, against a hub that lacks this and that."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session
from typer.testing import CliRunner

from diffutron.cli.app import app
from diffutron.config.params import parse_params
from diffutron.data.sources.hub_rows import open_split
from diffutron.operations.check import check
from diffutron.operations.profiles import compose, hub_names
from diffutron.runtime.hub import CHECKPOINT, open_repository
from diffutron.runtime.yaml_files import yaml_text
from tests.support.own_tasks import write_own_tasks
from tests.support.published_hub import write_parquet, write_published

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def _published(tmp_path_factory, tiny_model_dir) -> Path:
    folder = tmp_path_factory.mktemp("published") / "hub"
    write_published(folder, tiny_model_dir, rows=5)
    return folder


@pytest.fixture
def published(hub, _published, repo, monkeypatch):
    """The hub holds all that profile `paper` names; `.params(...)` are those settings."""
    shutil.copytree(_published, hub.store.folder)
    monkeypatch.chdir(repo)

    def params(*overrides: str):
        return parse_params(compose("paper", overrides, pinned=False), origin="test")

    return SimpleNamespace(hub=hub, folder=hub.store.folder, params=params)


def faults(params) -> dict[str, str]:
    return {one.name: one.text for one in check(params) if not one.ok}


def test_all_is_there(published, capsys):
    found = {one.name: one for one in check(published.params())}
    assert [name for name, one in found.items() if not one.ok] == []
    assert {*found} == {
        "tokenizer.name", "backbone.name", "corpus.hub", "instructions.phase1",
        "instructions.phase2", "evaluate.perplexity_text", "space",
        *(f"evaluate.source: {task}" for task in published.params().evaluate.tasks),
    }  # fmt: skip
    assert "20 rows, license cc-by-sa-4.0" in found["corpus.hub"].text
    assert found["backbone.name"].bytes_to_fetch > 10_000
    weights = [one for one in published.hub.log if "safetensors" in one["path"]]
    assert weights == []  # the model itself stays on the hub


def test_offline_the_cache_answers(published, monkeypatch):
    params = published.params()
    rows, tuning = params.corpus.hub[0], params.instructions
    for entry in (rows, tuning.phase1, tuning.phase2, params.evaluate.perplexity_text):
        assert [*open_split(entry, setting="test").rows()]
    open_repository("jhu-clsp/mmBERT-base").fetch(*CHECKPOINT)
    assert faults(params) == {}
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    assert faults(params) == {}
    assert faults(published.params("backbone.name=a/other")) == {
        "backbone.name": "model a/other is not in the cache, and HF_HUB_OFFLINE forbids to fetch it"
    }


def test_all_that_is_wrong_is_told_at_once(published, tmp_path, monkeypatch):
    folder = published.folder / "datasets"
    folder.joinpath("turkish-nlp-suite/InstrucTurca.json").write_text('{"gated": true}')
    write_parquet(
        folder / "selimfirat/bilkent-turkish-writings-dataset/data/train-0.parquet", [{"yazi": "x"}]
    )
    shutil.rmtree(folder / "mcemilg/IronyTR@659d7da0591e373110b19bca538d02a52c20edd2")
    params = published.params(
        "tokenizer.name=jhu-clsp/none", "backbone.revision=v9", "instructions.phase1.split=test"
    )
    found = faults(params)
    for name, told in {
        "tokenizer.name": "model jhu-clsp/none does not exist or is private",
        "backbone.name": "has no revision v9",
        "instructions.phase1": "has no split test; choose one of train",
        "instructions.phase2": "is gated; ask for access on its page and set HF_TOKEN",
        "evaluate.perplexity_text": "has no field 'text'; it has yazi",
        "evaluate.source: ironytr": "has no revision 659d7da",
    }.items():
        assert told in found.pop(name), name
    assert found == {}
    file = tmp_path / "params.yaml"
    file.write_text(yaml_text(json.loads(params.model_dump_json(by_alias=True))))
    done = CliRunner().invoke(app, ["check", "--params", str(file)])
    assert done.exit_code == 2
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 6
    asked = CliRunner().invoke(app, ["check", "--json", "--params", str(file)])
    told = json.loads(asked.stdout)
    assert asked.exit_code == 2
    assert (told["ok"], len([one for one in told["checks"] if not one["ok"]])) == (False, 6)


def test_own_tasks_are_looked_at(published, tmp_path):
    folder = write_own_tasks(tmp_path / "tasks")
    given = f"evaluate.tasks_dir={folder}"
    params = published.params(given)
    (found,) = [one for one in check(params) if one.name == "evaluate.tasks_dir"]
    assert (found.ok, found.text) == (True, "ciftler (30 rows), soru_bankasi (30 rows)")
    (folder / "s.jsonl").write_text("{}\n", "utf-8")
    assert "does not fit the files of" in faults(params)["evaluate.tasks_dir"]
    assert "s.jsonl, row 1: `doc_to_text`" in faults(published.params(given))["evaluate.tasks_dir"]


def test_a_license_that_forbids_the_use(published):
    entry = published.params().corpus.hub[0].model_dump()
    forbids = json.dumps([entry | {"license": "CC BY-NC 4.0"}])
    given = (f"corpus.hub={forbids}", "corpus.use=commercial")
    assert "CC BY-NC 4.0" in faults(published.params(*given))["corpus.hub"]
    assert faults(published.params(*given, 'corpus.allowed_licenses=["CC BY-NC 4.0"]')) == {}


def test_a_disk_that_is_too_small(published, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=1000))
    assert "0.0 MB free" in faults(published.params())["space"]


def test_rows_that_are_no_instructions(published):
    name = "diffutron/DiffutronLM-Pretraining-Corpus"
    found = faults(published.params(f"instructions.phase1.name={name}"))
    assert "which are no instructions; name them in" in found["instructions.phase1"]
    fields = "instructions.phase1.fields={instruction: text, output: text}"
    assert faults(published.params(f"instructions.phase1.name={name}", fields)) == {}


def test_params_pins_what_is_read_from_the_hub(published, capsys):
    values = compose("paper")
    pins = {name: entry["commit"] for name, _, entry in hub_names(values)}
    assert len(pins) == 6
    assert all(len(commit) == 40 for commit in pins.values())
    assert "commit" not in compose("demo")["backbone"]  # nothing is read from the hub
    moved = published.folder / "models/jhu-clsp/mmBERT-base"
    (moved / "config.json").write_text("{}")
    assert compose("paper")["backbone"]["commit"] != values["backbone"]["commit"]
    assert capsys.readouterr().err == ""
    lost = compose("paper", ["backbone.name=jhu-clsp/none"])
    assert lost["backbone"]["commit"] is None
    assert "jhu-clsp/none does not exist" in capsys.readouterr().err


def test_a_hub_that_is_away_is_told_once_and_the_cache_is_asked(published, capsys, monkeypatch):
    known = compose("paper", ["tokenizer.name=jhu-clsp/none"])["backbone"]["commit"]
    capsys.readouterr()
    published.hub.stop()
    close_session()
    pauses: list[float] = []
    monkeypatch.setattr("diffutron.runtime.hub.sleep", pauses.append)
    values = compose("paper", ["tokenizer.name=jhu-clsp/none"])
    assert values["backbone"]["commit"] == known
    assert values["tokenizer"]["commit"] is None
    assert len(pauses) == 2  # one name was tried three times, the others were not
    told = [line for line in capsys.readouterr().err.splitlines() if "null" in line]
    assert len(told) == 1
    assert told[0].endswith("these commits stay null: tokenizer.name")


def test_another_name_has_another_commit(published, tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text(yaml_text(compose("paper")))
    before = compose("params", folder=tmp_path)["backbone"]["commit"]
    assert before == compose("params", ["seed=1"], folder=tmp_path)["backbone"]["commit"]
    (published.folder / "models/jhu-clsp/mmBERT-base/config.json").write_text("{}")
    kept = compose("params", ["seed=1"], folder=tmp_path)["backbone"]["commit"]
    new = compose("params", ["backbone.revision=main"], folder=tmp_path)["backbone"]["commit"]
    assert kept == before != new
