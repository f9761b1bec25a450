"""What a training leaves for the report: figures as JSON, the loss curve as CSV."""

import csv
import io
import os
import platform
from pathlib import Path
from typing import Any

from diffutron.modeling.encoder import count_parameters
from diffutron.modeling.flops import matmul_peak, training_flops
from diffutron.modeling.matmul import prefers_onednn
from diffutron.runtime.files import write_json, write_text
from diffutron.training.trainer import Training

COLUMNS = ("step", "loss", "eval_loss", "learning_rate", "tokens")


def device_name(device: Any) -> str:
    """`cpu`, or the name of the GPU."""
    if device.type == "cpu":
        return "cpu"
    import torch  # cuda only

    return torch.cuda.get_device_name(device)  # cuda only


def figures(training: Training) -> dict[str, Any]:
    """The plain numbers of a training; losses in nats."""
    state, ranks = training.state, training.ranks
    curve = [point["loss"] for point in state.curve]
    attended = (state.attended[0], state.attended[1])
    flops = training_flops(
        training.model, tokens=state.tokens, masked=state.masked, attended=attended
    )
    peak = matmul_peak(str(ranks.device)) * ranks.world_size
    return {
        "objective": training.task.objective.name,
        "is_bound": training.task.objective.is_bound,
        "steps": training.steps,
        "epochs": training.epochs,
        "samples": len(training.task.samples),
        "samples_cut": training.task.samples.num_cut,
        "tokens": state.tokens,
        "masked_tokens": state.masked,
        "tokens_per_s": state.tokens / state.seconds,
        "flops": flops,
        "matmul_peak_flops": peak,
        "peak_share": flops / state.seconds / peak,
        "loss_first": curve[0],
        "loss_last": curve[-1],
        "eval_loss_before": state.eval_loss_before,
        "eval_loss": state.eval_loss,
        "eval_samples": len(training.heldout.samples),
        **count_parameters(training.model),
        "training_seconds": state.seconds,
        "device": device_name(ranks.device),
        "machine": platform.processor() or platform.machine(),
        "world_size": ranks.world_size,
        "products": "onednn" if prefers_onednn() else "blas",
        "threads": int(os.environ.get("OMP_NUM_THREADS", 0)) or len(os.sched_getaffinity(0)),
        "zero_stage": training.params.zero_stage,
        "resumed_from": training.resumed_from,
    }


def write_record(metrics: Path, values: dict[str, Any], training: Training) -> None:
    """`metrics/STAGE.json`, and `metrics/STAGE.csv` beside it (the plot of the loss)."""
    table = io.StringIO()
    writer: csv.DictWriter[str] = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for point in training.state.curve:
        writer.writerow({key: "" if value is None else value for key, value in point.items()})
    write_text(metrics.with_suffix(".csv"), table.getvalue())
    write_json(metrics, values)
