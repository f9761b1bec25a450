"""The door to the hub against a hub that misbehaves: what it does, and the one line it ends in."""

import json
import time
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from diffutron.runtime.hub import (
    CHECKPOINT,
    HubError,
    ask,
    is_hub_name,
    is_whole,
    open_repository,
    split_name,
)

WEIGHTS = bytes(range(256)) * 8000  # above the size from which a file lies in the storage host
ONCE, ALWAYS = {"times": 1}, {}
REFUSED = {"do": "status", "status": 503}
LIMITED = {"do": "status", "status": 429, "headers": {"Retry-After": "1"}}
DROP, CUT, SPOIL = {"do": "drop"}, {"do": "cut"}, {"do": "spoil"}
API, FILE, STORAGE, HEAD = "/api/models", "GET .*resolve", "CDN ", "HEAD "


@pytest.fixture
def model(hub) -> Path:
    """The repository a/b: weights in two formats, a small file, one in a folder."""
    folder = hub.store.folder / "models/a/b"
    (folder / "onnx").mkdir(parents=True)
    (folder / "config.json").write_text('{"vocab_size": 7}')
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    (folder / "onnx/config.json").write_text("{}")
    return folder


def fetch(**options) -> Path:
    return open_repository("a/b", setting="backbone.name", **options).fetch(*CHECKPOINT)


def asked(hub) -> int:
    """Requests since the last call."""
    number = len(hub.log)
    hub.log.clear()
    return number


def go_offline(monkeypatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()


def test_the_files_of_one_commit_in_one_format(hub, model):
    folder = fetch()
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert open_repository("a/b").commit == folder.name
    assert not [entry for entry in hub.log if "bin" in entry["path"] or "onnx" in entry["path"]]


def test_nothing_is_fetched_twice_and_a_pinned_commit_asks_nothing(hub, model):
    commit = fetch().name
    asked(hub)
    fetch()
    assert asked(hub) == 1  # what `main` is now
    fetch(commit=commit)
    assert asked(hub) == 0


def test_a_pin_holds_where_main_has_moved(hub, model):
    commit = fetch().name
    (model / "config.json").write_text('{"vocab_size": 8}')
    assert json.loads((fetch(commit=commit) / "config.json").read_text()) == {"vocab_size": 7}
    moved = fetch()
    assert moved.name != commit
    assert json.loads((moved / "config.json").read_text()) == {"vocab_size": 8}


@pytest.mark.parametrize("fault", [REFUSED, LIMITED, DROP], ids=["503", "429", "drop"])
@pytest.mark.parametrize("place", [API, HEAD, FILE, STORAGE])
def test_what_fails_once_is_tried_again(hub, model, fault, place):
    hub.faults[:] = [{"match": place, **fault, **ONCE}]
    assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.faults[0]["met"] > 1


@pytest.mark.parametrize("fault", [CUT, SPOIL], ids=["cut", "spoil"])
def test_a_damaged_body_is_fetched_again(hub, model, fault):
    hub.faults[:] = [{"match": STORAGE, **fault, **ONCE}]
    assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS


def test_a_file_that_was_damaged_in_the_cache_is_fetched_again(hub, model):
    for name in ("config.json", "model.safetensors"):
        file = (fetch() / name).resolve()
        content = file.read_bytes()
        file.write_bytes(content[:-2] + b"\0\0")
        assert not is_whole(file)
        assert (fetch() / name).read_bytes() == content


@pytest.mark.parametrize(
    ("place", "fault", "cause", "told"),
    [
        (API, REFUSED, "refused", r"is refused by the hub now \(status 503\); try again later"),
        (STORAGE, REFUSED, "refused", r"is refused by the hub now \(status 503\)"),
        (API, LIMITED, "refused", r"is refused by the hub now \(status 429\)"),
        (API, DROP, "unreachable", "cannot be fetched, since the hub hangs up"),
        (HEAD, DROP, "unreachable", "cannot be fetched, since the hub hangs up"),
        (STORAGE, SPOIL, "damaged", "gives other bytes for model.safetensors than it names"),
        (API, {"do": "status", "status": 418}, "refused", r"is refused by the hub \(status 418\)"),
    ],
)
def test_what_always_fails_is_one_line(hub, model, monkeypatch, place, fault, cause, told):
    monkeypatch.setattr("diffutron.runtime.hub.PATIENCE", 1.5)
    hub.faults[:] = [{"match": place, **fault, **ALWAYS}]
    with pytest.raises(HubError, match=f"^backbone.name: model a/b {told}") as caught:
        fetch()
    assert caught.value.cause == cause
    assert "\n" not in str(caught.value)


def test_a_hub_that_always_hangs_up_is_told_within_a_minute(hub, model, monkeypatch):
    """By the clock of the waits, which are not waited for here."""
    waited: list[float] = []
    monkeypatch.setattr("diffutron.runtime.hub.sleep", waited.append)
    now = time.monotonic
    monkeypatch.setattr("tenacity.time.monotonic", lambda: now() + sum(waited))
    hub.faults[:] = [{"match": ".*", **DROP}]
    with pytest.raises(HubError, match="hangs up"):
        fetch()
    assert 5 < sum(waited) < 30


@pytest.mark.parametrize(
    ("about", "token", "cause", "told"),
    [
        ({"gated": True}, None, "no token", "is gated; ask for access on its page and set HF_TOKE"),
        ({"gated": True}, "hf_other", "no access", "is gated, and this token has no access"),
        ({"private": True}, None, "no name", "does not exist or is private; check the name"),
        ({"private": True}, "hf_other", "no name", "does not exist or is private"),
    ],
)
def test_who_may_not_see_it(hub, model, monkeypatch, about, token, cause, told):
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    model.with_name("b.json").write_text(json.dumps(about | {"access": ["hf_good"]}))
    with pytest.raises(HubError, match=told) as caught:
        fetch()
    assert caught.value.cause == cause
    assert "hf_" not in str(caught.value)
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert (fetch() / "model.safetensors").is_file()
    sent = {entry["token"] for entry in hub.log if entry["method"] == "CDN"}
    assert sent == {None}  # the storage host never sees it


def test_what_is_not_there_is_named(hub, model):
    for options, cause, told in [
        ({"name": "a/none"}, "no name", "model a/none does not exist or is private"),
        ({"name": "a/b", "revision": "v9"}, "no revision", "model a/b has no revision v9"),
        ({"name": "a/b/c"}, "no name", "model a/b/c has no name that the hub knows"),
    ]:
        with pytest.raises(HubError, match=told) as caught:
            open_repository(**options)
        assert caught.value.cause == cause
    with pytest.raises(HubError, match=r"model a/b holds no file \*\.gguf"):
        open_repository("a/b").fetch("*.gguf")


def test_a_renamed_repository_is_followed(hub, model):
    (hub.store.folder / "models/old").mkdir()
    (hub.store.folder / "models/old/name.json").write_text('{"moved": "a/b"}')
    assert (open_repository("old/name").fetch("config.json") / "config.json").is_file()


@pytest.mark.parametrize("how", ["offline", "dead", "drop"])
def test_without_the_hub_the_cache_serves(hub, model, monkeypatch, how):
    known = fetch()
    if how == "offline":
        go_offline(monkeypatch)
    elif how == "dead":
        hub.stop()
        close_session()
    else:
        monkeypatch.setattr("diffutron.runtime.hub.PATIENCE", 1.5)
        hub.faults[:] = [{"match": ".*", **DROP}]
    assert fetch() == known
    assert fetch(commit=known.name) == known
    told = {"offline": "HF_HUB_OFFLINE", "dead": "no connection to the hub", "drop": "hangs up"}
    with pytest.raises(HubError, match=f"model a/c .*{told[how]}"):
        open_repository("a/c")
    with pytest.raises(HubError, match=f"model a/b .*{told[how]}"):  # it was never fetched
        open_repository("a/b").fetch("pytorch_model.bin")


def test_a_cache_of_an_older_client_serves_offline(hub, model, monkeypatch):
    known = fetch()
    (tree,) = (known.parent.parent / "trees").glob("*.json")
    tree.unlink()
    monkeypatch.setattr("huggingface_hub._tree_cache._IN_MEMORY_TREE_CACHE", {})
    go_offline(monkeypatch)
    assert fetch() == known


def test_a_full_disk_is_told(monkeypatch):
    def full() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(HubError, match="data set a/b does not fit on the disk of HF_HOME"):
        ask(full, name="a/b", kind="dataset", revision="main")


def test_a_cache_that_cannot_be_written_is_told_at_once():
    def refuse() -> None:
        raise PermissionError(13, "Permission denied", "/cache/blobs")

    with pytest.raises(HubError, match="model a/b cannot be kept in HF_HOME, since this user may"):
        ask(refuse, name="a/b", kind="model", revision="main")


def test_a_time_that_the_hub_names_is_waited_for(hub, model, monkeypatch):
    waited: list[float] = []
    monkeypatch.setattr("diffutron.runtime.hub.sleep", waited.append)
    later = {**LIMITED, "headers": {"Retry-After": "120"}}
    hub.faults[:] = [{"match": API, **later, **ONCE}]
    assert fetch().is_dir()
    assert waited == [120]
    hub.faults[:] = [{"match": "/api/models", **LIMITED}]
    with pytest.raises(HubError, match=r"refused by the hub now \(status 429\)"):
        open_repository("a/other")
    assert waited == [120, 1, 1, 1, 1]


def test_a_token_that_cannot_be_sent_is_not_shown(monkeypatch):
    """The library's error would show it."""

    def call() -> None:
        raise httpx2.LocalProtocolError("Illegal header value b'Bearer hf_secret\\n'")

    with pytest.raises(HubError, match="check HF_TOKEN") as caught:
        ask(call, name="a/b", kind="model", revision="main")
    assert "hf_secret" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [httpx2.ProxyError("503 from proxy"), httpx2.InvalidURL("no host")]
)
def test_what_the_settings_of_the_network_do_is_told_at_once(error):
    calls = []

    def call() -> None:
        calls.append(1)
        raise error

    with pytest.raises(HubError, match="model a/b cannot be fetched.*HF_ENDPOINT"):
        ask(call, name="a/b", kind="model", revision="main")
    assert len(calls) == 1


def test_names(tmp_path, monkeypatch):
    assert split_name("a/b@v1") == ("a/b", "v1")
    assert split_name("a/b") == ("a/b", "main")
    assert is_hub_name("a/b")
    no_names = ("a", "./a/b", "/a", "~/a", "a/b/c", "a/", "../a", "models/phase2", "")
    assert not any(map(is_hub_name, no_names))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert not is_hub_name("here/model")
