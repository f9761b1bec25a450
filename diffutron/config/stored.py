"""Parameters and metrics that an earlier release has stored with a version, read by the new names.

What people write is refused under an old name (`config.renamed`); what is stored cannot be written
anew, so here it is translated. A key that the earlier release did not have gets the value that its
code had.
"""

import copy
from typing import Any, get_args

from pydantic import BaseModel

from diffutron.config.params import Params, parse_params
from diffutron.config.renamed import KEYS
from diffutron.config.training_params import NO_REPLAY

METRICS = {
    "canaries": "sanity_checks",
    "touched": "contaminated",
    "unigram_bits_per_byte": "unigram",
}
"""Keys of stored metrics, at any depth: their new names."""

TRAININGS = {"backbone", "pretrain", "instruct_phase1", "instruct_phase2"}
TRAINING = {"spike_ratio": 2.0, "spike_steps": 50, "precision": "auto"}
BACKBONE = {
    "objective": "mlm",
    "global_rope_theta": 160000.0,
    "embedding_range": None,
    "embedding_window": None,
    "zero_outputs": False,
    "head_activation": "gelu",
}
OPTIMIZER = {"name": "adamw", "muon_learning_rate": 0.02, "muon_momentum": 0.95, "head_size": None}
EVALUATE = {"tuned_format": "text", "tasks_dir": None, "tasks_digest": None, "probe_rows": 0}
PROMOTE = {"max_drop": 0.1, "alpha": 0.05, "max_contaminated": 0.01}


def parse_stored_params(values: Any, *, origin: str) -> Params:
    """The parameters of a registered version, of this release or an earlier one."""
    found = _renamed(values, Params) if isinstance(values, dict) else values
    if isinstance(found, dict) and isinstance(found.get("register"), dict):
        gate = found["register"].get("gate")
        if isinstance(gate, dict) and isinstance(gate.get("below_baseline"), int | float):
            gate["below_baseline"] = "unigram"  # the key held a share of its bits per byte
    if isinstance(found, dict) and found.keys() >= TRAININGS:
        if "promote" not in found:
            found["promote"] = PROMOTE
            for section in TRAININGS:
                found[section]["training"] |= TRAINING
            for section in ("instruct_phase1", "instruct_phase2"):
                found[section].setdefault("normalize", "token")
            found["corpus"]["contamination"]["tasks"] = found["evaluate"]["tasks"]
        found["corpus"]["contamination"].setdefault("whole_fields", None)
        found["corpus"].setdefault("personal_data", {"plates": False})
        found["tokenizer"].setdefault("trim", None)
        found["backbone"] = BACKBONE | found["backbone"]
        found["instructions"].setdefault("too_long", "drop")
        found["evaluate"] = EVALUATE | found["evaluate"]
        for section in ("instruct_phase1", "instruct_phase2"):
            found[section].setdefault("replay", NO_REPLAY)
        for section in TRAININGS:
            low, high = found[section].pop(KEYS["mask_rate"], (0.0, 1.0))
            rates = {"low": low, "high": high, "shape": "uniform"}
            training = found[section]["training"]
            training.setdefault("mask_rates", rates)
            both = {"muon_weight_decay": training["weight_decay"]}
            training["optimizer"] = OPTIMIZER | both | training.get("optimizer", {})
    return parse_params(found, origin=origin)


def _renamed(values: dict[str, Any], kind: type[BaseModel]) -> dict[str, Any]:
    """`values` with the keys that `kind` knows by a new name under that name."""
    fields = {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
    found = {}
    for old, value in values.items():
        key = old if old in fields else KEYS.get(old, old)
        inner = fields.get(key)
        for section in (inner, *get_args(inner)):
            if not (isinstance(section, type) and issubclass(section, BaseModel)):
                continue
            if isinstance(value, dict):
                value = _renamed(value, section)
            elif isinstance(value, list):
                value = [_renamed(one, section) for one in value]
        found[key] = copy.deepcopy(value)
    return found


def translate_metrics(values: Any) -> Any:
    """Stored metrics with the keys of METRICS under their new names."""
    if isinstance(values, dict):
        return {METRICS.get(key, key): translate_metrics(value) for key, value in values.items()}
    return [translate_metrics(one) for one in values] if isinstance(values, list) else values
