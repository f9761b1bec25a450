"""What a training remembers of itself, and what it leaves for the report."""

import csv
import io
import math
import os
import platform
import resource
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffutron.modeling.matmul import prefers_onednn
from diffutron.runtime.files import write_json, write_text

if TYPE_CHECKING:
    from diffutron.training.ranks import Ranks

COLUMNS = ("step", "loss", "eval_loss", "learning_rate", "tokens", "skipped_steps")


@dataclass
class TrainerState:
    """What a checkpoint keeps beside the weights; losses in nats as the objective weighs them."""

    tokens: int = 0
    masked: int = 0
    attended: list[int] = field(default_factory=lambda: [0, 0])  # pairs: full, sliding layers
    seconds: float = 0.0
    cpu_seconds: float = 0.0  # of this process, all threads
    losses: list[float] = field(default_factory=list)  # of the steps since the last point
    curve: list[dict[str, float | int | None]] = field(default_factory=list)
    skipped_steps: int = 0  # whose gradients were infinite or no numbers
    eval_loss_before: float | None = None
    eval_loss: float | None = None

    def shown(self) -> dict[str, object]:
        """What the progress line says."""
        speed = {"tokens/s": f"{self.tokens / max(self.seconds, 1e-9):.0f}"}
        return {"loss": f"{self.curve[-1]['loss']:.4f}", **speed} if self.curve else dict(speed)


def machine_facts(ranks: "Ranks") -> dict[str, Any]:
    """Where and how a training ran."""
    on_gpu = ranks.device.type == "cuda"
    return {
        "device": device_name(ranks.device),
        "machine": platform.processor() or platform.machine(),
        "world_size": ranks.world_size,
        "products": "cublas" if on_gpu else "onednn" if prefers_onednn() else "blas",
        "threads": int(os.environ.get("OMP_NUM_THREADS", 0)) or len(os.sched_getaffinity(0)),
    }


def device_name(device: Any) -> str:
    """`cpu`, or the name of the GPU."""
    if device.type == "cpu":
        return "cpu"
    import torch  # cuda only

    return torch.cuda.get_device_name(device)  # cuda only


def peak_bytes(device: Any) -> int:
    """The most memory that this rank has held, on its GPU if it has one."""
    if device.type == "cuda":
        import torch  # cuda only

        return torch.cuda.max_memory_allocated(device)  # cuda only
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def write_record(metrics: Path, values: dict[str, Any], state: TrainerState) -> None:
    """`metrics/STAGE.json`, and `metrics/STAGE.csv` beside it (the plot of the loss)."""
    table = io.StringIO()
    writer: csv.DictWriter[str] = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(state.curve)
    write_text(metrics.with_suffix(".csv"), table.getvalue())
    write_json(metrics, values)


def rise(losses: Sequence[float], *, window: int) -> float:
    """The mean of the last `window` losses over the lowest such mean so far, at least 1.

    1 until there are two windows.
    """
    if len(losses) < 2 * window:
        return 1.0
    sums = [math.fsum(losses[end - window : end]) for end in range(window, len(losses) + 1)]
    return sums[-1] / min(sums) if min(sums) > 0 else 1.0
