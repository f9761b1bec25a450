"""Names of earlier releases: refused, with the new name in the line (CHANGELOG.md lists them)."""

from collections.abc import Mapping

from diffutron.runtime.errors import UserError

KEYS = {
    "evaluation": "evaluate",
    "items": "max_items",
    "items_phase2": "max_items_final",
    "max_rows": "likelihood_rows",
    "documents": "heldout_documents",
    "final_learning_rate": "final_lr_ratio",
    "warmup": "warmup_ratio",
    "flat_until": "decay_from_ratio",
    "clip": "max_grad_norm",
    "row_tokens": "packed_length",
    "max_row_batch": "micro_batch_rows",
    "end_fill": "max_eos_fill",
    "end_fill_weight": "eos_fill_weight",
    "sure": "min_score",
    "sure_words": "min_score_words",
    "margin": "disagreement_margin",
    "mask_rate": "training.mask_rates",
    "licence": "license",
    "allowed_licences": "allowed_licenses",
    "max_bits_per_byte_of_unigram": "below_baseline",
}
"""Last part of a key that a YAML file may have held: its new name, seen from the key's section."""

VARIABLES = {"DIFFUTRON_PRODUCTS": "DIFFUTRON_MATMUL"}


def refuse_old_variables(environment: Mapping[str, str]) -> None:
    """Raises UserError if an environment variable is set by a name that has changed."""
    for old, new in VARIABLES.items():
        if old in environment:
            raise UserError(f"the environment variable {old} is now called {new}; set that one")
