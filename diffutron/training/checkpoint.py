"""Checkpoints of a training: complete or not there, and never of another run.

The folder's name holds a fingerprint of the stage's parameters and inputs, so a changed parameter
starts anew. Each checkpoint is written under another name, listed with the digest of every file,
synchronized to disk and then renamed; the one before it goes only after that.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from diffutron.config.section import Section
from diffutron.runtime.errors import StageFailure, UserError
from diffutron.runtime.files import content_digest, explain_os_error, file_digest, write_json
from diffutron.training.optimizer import runs_muon
from diffutron.training.ranks import Ranks

ROOT = "DIFFUTRON_CHECKPOINTS"  # folder of all checkpoints; a fact of the machine
MANIFEST = "complete.json"
KEPT = 2  # the newest, and the one to fall back on


def fingerprint(section: Section, own: Iterable[object], inputs: Iterable[Path]) -> str:
    """16 hex digits of the parameters, its own facts and the content that a stage depends on."""
    digest = hashlib.sha256(section.model_dump_json().encode())
    digest.update(f":{':'.join(map(str, own))}:{content_digest(inputs)}".encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    folder: Path
    step: int
    world_size: int
    zero_stage: int
    muon: bool
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one stage and fingerprint, written and read by all ranks together."""

    def __init__(self, name: str, ranks: Ranks, *, zero_stage: int) -> None:
        self.folder = Path(os.environ.get(ROOT, "checkpoints")) / name
        self.ranks, self.zero_stage = ranks, zero_stage

    @classmethod
    def of_stage(
        cls, stage: str, section: Any, ranks: Ranks, *, seed: int, inputs: Iterable[Path]
    ) -> Self:
        """Those of a stage with these parameters and inputs."""
        own = (seed, section.training.precision_on(ranks.device.type))
        key = ranks.broadcast(fingerprint(section, own, inputs) if ranks.is_main else None)
        return cls(f"{stage}-{key}", ranks, zero_stage=section.training.zero_stage)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint whose files are all there and whole; tells of damaged ones."""
        found = self._newest() if self.ranks.is_main else None
        return self.ranks.broadcast(found)

    def _newest(self) -> Checkpoint | None:
        for folder in sorted(self.folder.glob("step-*"), reverse=True):
            if folder.suffix:
                continue
            fault, manifest = _verify(folder)
            if manifest is not None:
                return Checkpoint(folder, **{k: v for k, v in manifest.items() if k != "files"})
            print(f"checkpoint {folder} is damaged ({fault}); trying the one before it", flush=True)
        return None

    def load(self, engine: Any, checkpoint: Checkpoint) -> None:
        """Weights and optimizer state into an engine of the same, or of another world size."""
        tag = checkpoint.folder.name + (".universal" if self.converts(checkpoint) else "")
        loaded, _ = engine.load_checkpoint(
            str(checkpoint.folder.parent), tag=tag, load_module_strict=False
        )
        if loaded is None:
            raise UserError(f"cannot load checkpoint {checkpoint.folder}; delete it and run again")

    def converts(self, checkpoint: Checkpoint) -> bool:
        """ZeRO cuts the optimizer state by rank; another number of ranks needs a universal form."""
        return self.zero_stage > 0 and checkpoint.world_size != self.ranks.world_size

    def prepare(self, checkpoint: Checkpoint) -> None:
        """Convert a checkpoint of another world size, once, before an engine loads it."""
        if self.converts(checkpoint):
            if checkpoint.muon:
                raise UserError(
                    f"checkpoint {checkpoint.folder} was written by {checkpoint.world_size} ranks, "
                    f"and DeepSpeed cannot divide the state of Muon anew; run it with that number "
                    f"of ranks, or delete {self.folder} and start again"
                )
            if self.ranks.is_main:
                self._convert(checkpoint)
            self.ranks.barrier()

    def _convert(self, checkpoint: Checkpoint) -> None:
        source, target = checkpoint.folder, Path(f"{checkpoint.folder}.universal")
        print(
            f"checkpoint {source} was written by {checkpoint.world_size} ranks and is converted "
            f"for {self.ranks.world_size}",
            flush=True,
        )
        shutil.rmtree(target, ignore_errors=True)
        command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal"]
        command += ["--inject_missing_state", "--num_extract_workers", "1"]
        command += ["--num_merge_workers", "1"]
        command += ["--input_folder", str(source), "--output_folder", str(target)]
        outside = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}
        done = subprocess.run(command, capture_output=True, text=True, env=outside, check=False)
        if done.returncode:
            reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1]
            raise StageFailure(f"cannot convert checkpoint {source}: {reason}")

    def save(
        self,
        engine: Any,
        step: int,
        state: dict[str, Any],
        *,
        also: Callable[[Path], None] | None = None,
    ) -> None:
        """Write the checkpoint of that many finished steps, then drop those it replaces.

        `also` writes further files into its folder, in all ranks.
        """
        final = self.folder / f"step-{step:08}"
        partial = Path(f"{final}.partial")
        if self.ranks.is_main:
            shutil.rmtree(partial, ignore_errors=True)
        self.ranks.barrier()
        try:
            engine.save_checkpoint(
                str(self.folder),
                tag=partial.name,
                save_latest=False,
                exclude_frozen_parameters=True,
            )
            if also:
                also(partial)
            self.ranks.barrier()
            if self.ranks.is_main:
                own = {"step": step, "muon": runs_muon(engine), "state": state}
                self._complete(partial, final, own)
        except OSError as error:
            raise explain_os_error(error, final) or error from error
        except RuntimeError as error:  # what torch makes of a full disk
            raise self._full_disk(error, final) or error from error
        self.ranks.barrier()

    def _full_disk(self, error: RuntimeError, final: Path) -> UserError | None:
        """torch.save reports a failed write as a RuntimeError without its cause."""
        wrote = any(word in str(error) for word in ("PytorchStreamWriter", "write", "No space"))
        if not wrote or shutil.disk_usage(self.folder).free > 2**20:
            return None
        return UserError(f"cannot write {final}: the disk is full: free some space and run again")

    def _complete(self, partial: Path, final: Path, own: dict[str, Any]) -> None:
        files = sorted(path for path in partial.rglob("*") if path.is_file())
        manifest = {
            **own,
            "world_size": self.ranks.world_size,
            "zero_stage": self.zero_stage,
            "files": {path.relative_to(partial).as_posix(): file_digest(path) for path in files},
        }
        for path in files:
            _synchronize(path)
        write_json(partial / MANIFEST, manifest)
        _synchronize(partial)
        shutil.rmtree(final, ignore_errors=True)  # of an earlier, damaged attempt
        partial.rename(final)
        _synchronize(self.folder)
        self._prune()

    def _prune(self) -> None:
        whole = sorted(p for p in self.folder.glob("step-*") if not p.suffix)
        for old in whole[:-KEPT]:
            shutil.rmtree(old)
        for rest in self.folder.glob("step-*.*"):
            shutil.rmtree(rest)

    def remove(self) -> None:
        """All of them, once the stage's output stands."""
        self.ranks.barrier()
        if self.ranks.is_main:
            shutil.rmtree(self.folder, ignore_errors=True)


def _verify(folder: Path) -> tuple[str, dict[str, Any] | None]:
    """The manifest of a checkpoint, or what is wrong with it."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        for name, digest in manifest["files"].items():
            if file_digest(folder / name) != digest:
                return f"{name} has changed", None
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing", None
    except (OSError, ValueError, KeyError, TypeError) as error:
        return str(error), None
    return "", manifest


def _synchronize(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
