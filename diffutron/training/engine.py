"""The DeepSpeed engine around the loss; the batch arithmetic stays with us."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn

from diffutron.config.training_params import TrainingParams
from diffutron.runtime.errors import UserError
from diffutron.training.optimizer import make_optimizer
from diffutron.training.quiet_deepspeed import import_deepspeed
from diffutron.training.ranks import Ranks, limit_collectives

NEEDS_STAGE = {"overlap_comm": 2, "offload_optimizer": 1, "offload_param": 3}  # DeepSpeed, ZeRO
CONFIG = "DIFFUTRON_DEEPSPEED"  # a JSON file of machine facts: offloading, bucket sizes, logging
OURS = (
    "train_batch_size",
    "train_micro_batch_size_per_gpu",
    "gradient_accumulation_steps",
    "gradient_clipping",
    "optimizer",
    "scheduler",
    "fp16",
    "bf16",
)


def start_engine(
    loss: nn.Module,
    params: TrainingParams,
    ranks: Ranks,
    *,
    read_directly: Iterable[nn.Parameter],
    matrices: Iterable[nn.Parameter],
    universal: bool,
) -> Any:
    """An engine whose `step()` ends a global batch of any number of `backward()` calls.

    read_directly: parameters that `loss` reads without calling their module, which ZeRO-3 has to
    know. matrices: the weights that Muon trains if it is asked for and can. universal: the
    checkpoint to be loaded is in the form for any number of ranks.
    """
    deepspeed = import_deepspeed()
    config = engine_config(params, ranks, universal=universal)
    for_muon = _matrices_for_muon(list(matrices), params, config, ranks)
    if for_muon:
        # Stages 1 to 3 would clip what is already orthogonal, and so shorten every step.
        config |= {"gradient_clipping": 0.0}
        config["zero_optimization"] |= {"reduce_scatter": False} if params.zero_stage == 3 else {}
    os.environ.setdefault("LOCAL_RANK", "0")
    optimizer = make_optimizer(loss, params, for_muon)
    engine, *_ = deepspeed.initialize(
        model=loss, optimizer=optimizer, config=config, dist_init_required=False
    )
    limit_collectives()
    if params.zero_stage == 0 and engine.bfloat16_enabled():
        # DeepSpeed has taken a step with gradients of zero: AdamW would believe that it was a real
        # one, and its first real step would be a quarter too short.
        engine.optimizer.state.clear()
    if params.zero_stage == 3:
        for weight in read_directly:
            deepspeed.zero.register_external_parameter(loss, weight)
    return engine


def _matrices_for_muon(
    matrices: list[nn.Parameter], params: TrainingParams, config: dict[str, Any], ranks: Ranks
) -> list[nn.Parameter]:
    """`matrices`, or none of them where AdamW trains all; a line says why Muon does not."""
    if params.optimizer.name != "muon":
        return []
    offloads = [key for key in config["zero_optimization"] if key.startswith("offload_")]
    reason = f"with {offloads[0]}" if offloads else "" if matrices else "on adapters"
    if reason and ranks.is_main:
        print(f"optimizer: Muon does not run {reason}; AdamW trains all weights", flush=True)
    return [] if reason else matrices


def engine_config(params: TrainingParams, ranks: Ranks, *, universal: bool) -> dict[str, Any]:
    """Batch sizes are counted in samples by our own loop: to the engine a batch is one call."""
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": params.max_grad_norm,
        "zero_optimization": {"stage": params.zero_stage},
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": params.precision_on(ranks.device.type) == "bf16"},
        # It would wait for the device in every forward pass and every step.
        "timers": {"throughput": {"enabled": False}},
        "steps_per_print": 10**9,
        "wall_clock_breakdown": False,
        "checkpoint": {"load_universal": universal},
    }
    name = os.environ.get(CONFIG)
    return config if name is None else _with_machine_facts(config, name)


def _with_machine_facts(config: dict[str, Any], name: str) -> dict[str, Any]:
    try:
        facts = json.loads(Path(name).read_text(encoding="utf-8"))
        if not isinstance(facts, dict):
            raise ValueError("need an object")
    except (OSError, ValueError) as error:
        raise UserError(f"{CONFIG}={name}: no readable JSON file ({error})") from None
    zero = facts.get("zero_optimization", {})
    wrong = [key for key in facts if key in OURS]
    wrong += ["zero_optimization.stage"] if "stage" in zero else []
    if wrong:
        raise UserError(f"{name}: `{wrong[0]}` is set by params.yaml; remove it from this file")
    stage = config["zero_optimization"]["stage"]
    for key in [key for key in zero if stage < NEEDS_STAGE.get(key, 0)]:
        print(f"{name}: {key} is left out, since it needs zero_stage {NEEDS_STAGE[key]}")
        del zero[key]
    return {**config, **facts, "zero_optimization": config["zero_optimization"] | zero}
