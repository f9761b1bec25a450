"""The one import of DeepSpeed, which is quiet."""

import logging
import os
import sys
import warnings
from typing import Any

import torch


def import_deepspeed() -> Any:
    """DeepSpeed without what it does by the way.

    Its autotuner imports MLflow if it is there (4 s of every rank, never used); its CPU back end
    compiles a communication kernel with a C++ compiler at run time; each rank announces its device.
    On a CPU it computes nothing in fp16.
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
    if not torch.cuda.is_available():
        # Muon would iterate in fp16 where the processor has it, and round as nowhere else.
        accelerator: Any = deepspeed.get_accelerator()
        accelerator.is_fp16_supported = lambda: False
    for logger in (logging.getLogger("DeepSpeed"), deepspeed.utils.logger):
        logger.setLevel(logging.ERROR)
    for message in (".*all_gather_into_tensor.*", ".*reduce_scatter_tensor.*"):
        warnings.filterwarnings("ignore", message=message, category=FutureWarning)
    return deepspeed
