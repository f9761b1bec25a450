"""What a tuning will cost in time and memory, told before it begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from diffutron.data.instructions.steps import Row
from diffutron.planning.model_cost import Shape, logits_bytes
from diffutron.planning.plan import Machine, flops_of, plan_training
from diffutron.tuning.settings import TuneParams

BEFORE_AND_AFTER = 2


@dataclass(frozen=True)
class Cost:
    """Hours of the training and of the answers before and after; bytes of memory on one rank.

    answer_share: arithmetic of the answers over that of the training, whatever the machine.
    """

    training_hours: float
    answer_hours: float
    answer_share: float
    memory_bytes: int
    free_bytes: int
    device: str

    @property
    def fits(self) -> bool:
        return self.memory_bytes <= self.free_bytes

    def text(self) -> str:
        """The cost in one line."""
        hours = [_duration(one) for one in (self.training_hours, self.answer_hours)]
        need, free = (one / 2**30 for one in (self.memory_bytes, self.free_bytes))
        line = (
            f"about {hours[0]} of training and {hours[1]} of answers on this {self.device}, "
            f"{need:.2f} GiB of memory ({free:.1f} GiB are free)"
        )
        if not self.fits:
            line += (
                "; that does not fit: take --method lora, -S max_tokens=256, or "
                "-S training.gradient_checkpointing=true"
            )
        return line


def cost_of(
    settings: TuneParams,
    shape: Shape,
    machine: Machine,
    *,
    learned: Sequence[Row],
    asked: Sequence[Row],
    free_bytes: int,
) -> Cost:
    """The cost of learning `learned`, and of asking `asked` before and after."""
    training, adapter = settings.training, settings.method == "lora"
    lengths = [len(row.input_ids) for row in learned]
    length = sum(lengths) / len(lengths)
    answer_share = 1 - sum(row.answer_start for row in learned) / sum(lengths)
    samples = (training.epochs or 0.0) * len(learned)
    if training.steps is not None:
        samples = training.steps * training.batch_size
    planned = plan_training(
        "tune",
        training,
        shape,
        machine,
        tokens=round(samples * length),
        length=length,
        masked=sum(training.mask_rates.bounds) / 2 * answer_share,
        adapter=adapter,
    )
    answers = BEFORE_AND_AFTER * _answer_flops(settings, shape, asked)
    device = "GPU" if machine.on_gpu else "CPU"
    # What answers a question holds the weights as well, and the logits of a batch.
    answering = 4 * shape.parameters + logits_bytes(shape)
    return Cost(
        training_hours=planned.hours,
        answer_share=answers / planned.flops,
        answer_hours=machine.hours(answers, ranks=1, hidden_size=shape.hidden_size),
        memory_bytes=max(planned.memory_bytes_per_rank, answering),
        free_bytes=free_bytes,
        device=device,
    )


def _answer_flops(settings: TuneParams, shape: Shape, asked: Sequence[Row]) -> float:
    """Forward passes over each prompt with its canvas, once per step, and over each row for its
    likelihood."""
    new, steps = settings.generation.max_new_tokens, settings.generation.num_steps
    canvases = sum((row.answer_start + new) * steps for row in asked)
    rows = sum(len(row.input_ids) * settings.likelihood_rows for row in asked)
    length = canvases / (steps * len(asked))
    return flops_of(shape, canvases + rows, masked=0.5, length=length, adapter=False) / 3


def free_memory() -> int:
    """Bytes that are free now: of the GPU if there is one, else of the machine."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]  # cuda only
    import psutil

    return int(psutil.virtual_memory().available)


def _duration(hours: float) -> str:
    return str(timedelta(seconds=round(3600 * hours)))
