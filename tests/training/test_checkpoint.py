"""Checkpoints: whole or ignored, of this run or not found, and the newest whole one wins."""

import errno
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from diffutron.runtime.errors import StageFailure, UserError
from diffutron.training.checkpoint import MANIFEST, Checkpoint, Checkpoints, fingerprint
from diffutron.training.ranks import Ranks

ALONE = Ranks(rank=0, world_size=1, device=torch.device("cpu"))


class Engine:
    """The outside edge: what DeepSpeed writes is one file here."""

    optimizer = SimpleNamespace(param_groups=[])

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure

    def save_checkpoint(self, folder: str, tag: str, **options: bool) -> None:
        assert options == {"save_latest": False, "exclude_frozen_parameters": True}
        (Path(folder) / tag).mkdir(parents=True)
        (Path(folder) / tag / "weights.pt").write_bytes(tag.encode())
        if self.failure:
            raise self.failure

    def load_checkpoint(self, folder: str, tag: str, load_module_strict: bool):
        return (None, None) if self.failure else (folder, {})


@pytest.fixture
def checkpoints() -> Checkpoints:
    return Checkpoints("toy-1234", ALONE, zero_stage=2)


def names(checkpoints: Checkpoints) -> list[str]:
    return sorted(path.name for path in checkpoints.folder.iterdir())


def test_the_newest_two_stay(checkpoints):
    assert checkpoints.newest() is None
    for step in (5, 10, 15):
        checkpoints.save(Engine(), step, {"tokens": step})
    assert names(checkpoints) == ["step-00000010", "step-00000015"]
    newest = checkpoints.newest()
    assert (newest.step, newest.state, newest.world_size) == (15, {"tokens": 15}, 1)
    checkpoints.remove()
    assert not checkpoints.folder.exists()


@pytest.mark.parametrize("damage", ["truncated", "file gone", "manifest gone", "manifest cut"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(damage, checkpoints, capsys):
    for step in (5, 10):
        checkpoints.save(Engine(), step, {})
    folder = checkpoints.folder / "step-00000010"
    weights, manifest = folder / "weights.pt", folder / MANIFEST
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif damage == "file gone":
        weights.unlink()
    elif damage == "manifest gone":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text()[:20])
    assert checkpoints.newest().step == 5
    said = capsys.readouterr().out
    assert "step-00000010 is damaged" in said
    assert "trying the one before it" in said


def test_a_half_written_checkpoint_is_never_taken_for_one(checkpoints):
    checkpoints.save(Engine(), 5, {})
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(UserError, match="step-00000010: the disk is full"):
        checkpoints.save(Engine(full), 10, {})
    assert names(checkpoints) == ["step-00000005", "step-00000010.partial"]
    assert checkpoints.newest().step == 5
    checkpoints.save(Engine(), 10, {})  # the left-over is replaced
    assert names(checkpoints) == ["step-00000005", "step-00000010"]


def test_what_torch_says_of_a_full_disk(checkpoints, monkeypatch):
    failed = RuntimeError("[enforce fail at inline_container.cc] . PytorchStreamWriter failed")
    with pytest.raises(RuntimeError, match="PytorchStreamWriter"):
        checkpoints.save(Engine(failed), 5, {})  # there is room: some other fault
    usage = type("Usage", (), {"free": 0})
    monkeypatch.setattr("diffutron.training.checkpoint.shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="the disk is full"):
        checkpoints.save(Engine(failed), 5, {})
    with pytest.raises(RuntimeError, match="shape"):
        checkpoints.save(Engine(RuntimeError("shape")), 5, {})


def test_a_fault_of_the_system_stays_what_it_is(checkpoints):
    with pytest.raises(OSError, match="Input/output"):
        checkpoints.save(Engine(OSError(errno.EIO, "Input/output error")), 5, {})


def test_loading_names_what_failed(checkpoints):
    checkpoints.save(Engine(), 5, {})
    checkpoints.load(Engine(), checkpoints.newest())
    with pytest.raises(UserError, match="cannot load checkpoint .*step-00000005"):
        checkpoints.load(Engine(OSError()), checkpoints.newest())


def test_only_partitioned_state_of_another_world_size_is_converted(checkpoints):
    def written_by(ranks: int) -> Checkpoint:
        return Checkpoint(Path("step-00000005"), 5, ranks, 2, muon=False, state={})

    assert checkpoints.converts(written_by(2))
    assert not checkpoints.converts(written_by(1))
    assert not Checkpoints("toy", ALONE, zero_stage=0).converts(written_by(2))


@pytest.mark.slow
def test_a_failed_conversion_says_why(checkpoints):
    checkpoints.save(Engine(), 5, {})
    manifest = checkpoints.folder / "step-00000005" / MANIFEST
    values = json.loads(manifest.read_text()) | {"world_size": 2}
    manifest.write_text(json.dumps(values))
    with pytest.raises(StageFailure, match="cannot convert checkpoint .*step-00000005: "):
        checkpoints.prepare(checkpoints.newest())


def test_the_fingerprint_follows_parameters_seed_and_inputs(make_params, tmp_path):
    folder = tmp_path / "input"
    folder.mkdir()
    file = folder / "a.txt"
    file.write_text("one")
    section = make_params().pretrain

    def print_of(section=section, seed=1):
        return fingerprint(section, (seed,), (folder,))

    first = print_of()
    assert first == print_of()
    assert len(first) == 16
    assert print_of(seed=2) != first
    assert print_of(make_params({"pretrain.training.learning_rate": 0.1}).pretrain) != first
    file.write_text("two")
    assert print_of() != first


def test_checkpoints_of_a_stage_share_the_fingerprint_of_the_first_rank(make_params, tmp_path):
    section = make_params().pretrain
    made = Checkpoints.of_stage("pretrain", section, ALONE, seed=3, inputs=())
    assert made.folder.name == f"pretrain-{fingerprint(section, (3, 'float32'), ())}"
    assert made.folder.parent == Path("checkpoints")
    assert made.zero_stage == section.training.zero_stage
