"""What every training stage does: train, then leave the model and its record, each as a whole."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from torch import nn

from diffutron.config.params import BackboneParams, InstructParams, PretrainParams
from diffutron.data.token_store import Samples
from diffutron.runtime.files import atomic_folder
from diffutron.training.batches import Task
from diffutron.training.checkpoint import Checkpoints
from diffutron.training.ranks import Ranks
from diffutron.training.record import figures, write_record
from diffutron.training.trainer import Training


def train_stage(
    name: str,
    section: BackboneParams | PretrainParams | InstructParams,
    ranks: Ranks,
    *,
    model: nn.Module,
    task: Task,
    heldout: Samples,
    seed: int,
    inputs: Iterable[Path],
    out: Path,
    metrics: Path,
    save: Callable[[Path], None],
    started: float,
) -> None:
    """Train `model` as `section.training` says, from the newest checkpoint if there is one.

    inputs: what a checkpoint depends on besides the section and the seed. save: writes the model
    into a folder that becomes `out`; called in the first rank. started: of the stage
    (`time.monotonic`). The checkpoints go when all is written.
    """
    training = Training(
        model,
        task,
        task.on(heldout.first(section.training.evaluate_samples)),
        section.training,
        ranks,
        name=name,
        checkpoints=Checkpoints.of_stage(name, section, ranks, seed=seed, inputs=inputs),
    )
    training.run()
    training.settle()
    values = figures(training)
    if ranks.is_first:
        with atomic_folder(out) as folder:
            save(folder)
        write_record(metrics, {"seconds": time.monotonic() - started, **values}, training)
    training.checkpoints.remove()
