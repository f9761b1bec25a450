"""The DeepSpeed engine around a masked language model; the batch arithmetic stays with us."""

import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffutron.config.params import TrainingParams
from diffutron.diffusion.process.loss import weighted_nll
from diffutron.modeling.attention import unpadded, use_packed_attention
from diffutron.modeling.head import head_nll, masked_lm, trunk
from diffutron.modeling.matmul import use_fast_products
from diffutron.modeling.packing import attention_masks
from diffutron.runtime.errors import UserError
from diffutron.training.batches import MicroBatch
from diffutron.training.optimizer import adamw
from diffutron.training.ranks import Ranks, limit_collectives

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


class MaskedLoss(nn.Module):
    """A micro-batch to its part of the loss: nats of the masked tokens, weighted and normalized."""

    def __init__(self, model: nn.Module, *, mask_token_id: int) -> None:
        super().__init__()
        self.model = model
        self.mask_token_id = mask_token_id
        self.window: int = masked_lm(model).config.sliding_window
        use_packed_attention(model)
        use_fast_products(model)

    def forward(self, micro: MicroBatch) -> Tensor:
        selected = self._hidden(micro)
        nll = head_nll(
            self.model, selected, micro.targets, micro.weights, mask_token_id=self.mask_token_id
        )
        return weighted_nll(nll, micro.weights, normalizer=micro.normalizer)

    def _hidden(self, micro: MicroBatch) -> Tensor:
        """Hidden states [M, H] at the masked places."""
        if micro.noisy_ids.is_cuda:
            place, row = unpadded(micro.noisy_ids, micro.position_ids, micro.segment)  # cuda only
            return trunk(self.model, **row)[0].index_select(0, place[micro.masked_at])  # cuda only
        masks = attention_masks(micro.segment, window=self.window)
        hidden = trunk(self.model, micro.noisy_ids, masks, micro.position_ids)
        return hidden.flatten(0, 1).index_select(0, micro.masked_at)


def import_deepspeed() -> Any:
    """DeepSpeed without what it does by the way.

    Its autotuner imports MLflow if it is there (4 s of every rank, never used); its CPU back end
    compiles a communication kernel with a C++ compiler at run time; each rank announces its device.
    """
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    kept = sys.modules.get("mlflow")
    if kept is None:
        sys.modules["mlflow"] = None  # type: ignore[assignment] an import of it fails
    logging.getLogger("deepspeed").setLevel(logging.ERROR)
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    try:
        import deepspeed
        import deepspeed.ops
    finally:
        if kept is None:
            del sys.modules["mlflow"]
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    for logger in (logging.getLogger("DeepSpeed"), deepspeed.utils.logger):
        logger.setLevel(logging.ERROR)
    for message in (".*all_gather_into_tensor.*", ".*reduce_scatter_tensor.*"):
        warnings.filterwarnings("ignore", message=message, category=FutureWarning)
    return deepspeed


def start_engine(loss: MaskedLoss, params: TrainingParams, ranks: Ranks, *, universal: bool) -> Any:
    """An engine whose `step()` ends a global batch of any number of `backward()` calls."""
    deepspeed = import_deepspeed()
    config = engine_config(params, ranks, universal=universal)
    os.environ.setdefault("LOCAL_RANK", "0")
    engine, *_ = deepspeed.initialize(
        model=loss, optimizer=adamw(loss, params), config=config, dist_init_required=False
    )
    limit_collectives()
    if params.zero_stage == 3:  # the fused loss reads these two without calling their module
        decoder = masked_lm(loss.model).decoder
        for weight in decoder.parameters():
            deepspeed.zero.register_external_parameter(loss, weight)
    return engine


def engine_config(params: TrainingParams, ranks: Ranks, *, universal: bool) -> dict[str, Any]:
    """Batch sizes are counted in samples by our own loop: to the engine a batch is one call."""
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": params.max_grad_norm,
        "zero_optimization": {"stage": params.zero_stage},
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": ranks.device.type == "cuda"},
        "steps_per_print": 10**9,
        "wall_clock_breakdown": False,
        "checkpoint": {"load_universal": universal},
    }
    return _with_machine_facts(config)


def _with_machine_facts(config: dict[str, Any]) -> dict[str, Any]:
    name = os.environ.get(CONFIG)
    if name is None:
        return config
    try:
        facts = json.loads(Path(name).read_text(encoding="utf-8"))
        if not isinstance(facts, dict):
            raise ValueError("need an object")
    except (OSError, ValueError) as error:
        raise UserError(f"{CONFIG}={name}: no readable JSON file ({error})") from None
    if wrong := [key for key in facts if key in OURS] or (
        ["zero_optimization.stage"] if "stage" in facts.get("zero_optimization", {}) else []
    ):
        raise UserError(f"{name}: `{wrong[0]}` is set by params.yaml; remove it from this file")
    merged = {**config, **facts}
    merged["zero_optimization"] = config["zero_optimization"] | facts.get("zero_optimization", {})
    return merged


def settle(engine: Any, ranks: Ranks, averages: dict[str, Tensor] | None = None) -> None:
    """Whole float32 weights back into the model of the first rank, on the CPU; ends the training.

    All ranks take part: ZeRO-3 holds the weights in pieces, bf16 training its exact ones apart.
    averages: what takes the place of the trained weights, by name.
    """
    import deepspeed
    from deepspeed.utils import safe_get_full_fp32_param

    exact = engine.zero_optimization() or engine.bfloat16_enabled()
    for name, parameter in engine.module.named_parameters():
        if averages and name in averages:
            whole = averages[name]
        elif parameter.requires_grad and exact:
            whole = safe_get_full_fp32_param(parameter)
        else:
            with deepspeed.zero.GatheredParameters(
                [parameter], enabled=hasattr(parameter, "ds_id")
            ):
                whole = parameter.detach().clone()
        if ranks.is_first:
            assert whole is not None
            parameter.data = whole.to("cpu", torch.float32)
