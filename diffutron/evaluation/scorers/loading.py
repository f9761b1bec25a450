"""From an entry of `infra/systems.yaml` to an scorer: files found, model loaded, one at a time."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffutron.evaluation.scorers.systems import Scoring, System, check_folder
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import content_digest
from diffutron.runtime.hub import CHECKPOINT, HubError, is_hub_name, open_repository

if TYPE_CHECKING:
    from diffutron.evaluation.scorers.scorer import Scorer


class ModelUnavailable(Exception):
    """A model that is not on this machine and cannot be had: no fault, but no score either."""


@dataclass(frozen=True)
class Checkpoint:
    """A model folder, and a name for its content: what cached answers belong to.

    commit: of the hub's repository; None for a folder.
    """

    folder: Path
    digest: str
    commit: str | None = None


def find(system: System) -> Checkpoint:
    """The files of a system's model, from its folder or the hub.

    Raises:
        ModelUnavailable: there is no such folder, and the hub does not give it.
        UserError: a folder of the wrong kind.
    """
    assert system.model is not None
    check_folder(system)
    folder = Path(system.model)
    if folder.is_dir():
        return Checkpoint(folder, folder_digest(folder))
    if not is_hub_name(system.model) or system.revision is None:
        raise ModelUnavailable(f"there is no folder {system.model}")
    try:
        repository = open_repository(system.model, revision=system.revision)
        older = [] if repository.matching("*.safetensors") else ["*.bin"]
        folder = repository.fetch(*CHECKPOINT, *older)
    except HubError as error:
        raise ModelUnavailable(str(error)) from error
    named = hashlib.sha256(f"{system.model}@{repository.commit}".encode()).hexdigest()
    return Checkpoint(folder, named, repository.commit)


def folder_digest(folder: Path) -> str:
    """A name for the content of a model folder."""
    return content_digest(sorted(path for pattern in CHECKPOINT for path in folder.glob(pattern)))


def load(system: System, checkpoint: Checkpoint, scoring: Scoring) -> "Scorer":
    """The scorer of a system, on this rank's GPU if there is one.

    Raises ModelUnavailable or ValueError for files that cannot be loaded, `UserError` for a folder
    that holds no complete masked diffusion model.
    """
    import torch

    dtype = getattr(torch, system.dtype)
    tokens = scoring.batch_tokens
    if system.architecture == "masked_diffusion":
        from diffutron.evaluation.scorers.masked_diffusion import MaskedDiffusion
        from diffutron.inference.language_model import load_language_model

        try:
            lm = load_language_model(checkpoint.folder, device=_device(), dtype=dtype)
        except ValueError as error:
            raise UserError(f"{system.name}: {error}") from error
        return MaskedDiffusion(
            lm.model,
            lm.tokenizer,
            max_rows=scoring.max_rows,
            seed=scoring.seed,
            batch_tokens=tokens,
        )
    return _load_transformers(system.architecture, checkpoint.folder, dtype, tokens)


def _load_transformers(architecture: str, folder: Path, dtype: Any, batch_tokens: int) -> "Scorer":
    """A scorer of a model that is none of ours."""
    import transformers

    from diffutron.evaluation.scorers.causal import CausalDecoder
    from diffutron.evaluation.scorers.encoder_decoder import EncoderDecoder
    from diffutron.evaluation.scorers.pseudo_likelihood import PseudoLikelihood
    from diffutron.modeling.matmul import use_fast_matmul

    loader, scorer = {
        "causal": (transformers.AutoModelForCausalLM, CausalDecoder),
        "encoder_decoder": (transformers.AutoModelForSeq2SeqLM, EncoderDecoder),
        "pseudo_likelihood": (transformers.AutoModelForMaskedLM, PseudoLikelihood),
    }[architecture]
    try:
        model: Any = loader.from_pretrained(folder, dtype=dtype)
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    except OSError as error:
        raise ModelUnavailable(f"its files cannot be loaded ({error})") from error
    use_fast_matmul(model)
    if architecture == "pseudo_likelihood" and tokenizer.mask_token_id is None:
        raise ValueError(f"{folder}: the tokenizer has no mask token")
    return scorer(model.to(_device()).eval(), tokenizer, batch_tokens=batch_tokens)


def _device() -> Any:
    """The GPU of this rank, where torchrun has started several."""
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))  # cuda only


def randomize(model: Any, *, seed: int) -> None:
    """Forget what was learned, in place: matrices drawn anew, gains 1, biases 0."""
    import torch

    generator = torch.Generator(device="cpu").manual_seed(seed)
    spread = getattr(model.config, "initializer_range", None) or 0.02
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                drawn = torch.randn(weight.shape, generator=generator) * spread
                weight.copy_(drawn.to(weight.dtype))
            else:
                weight.fill_(0.0 if name.endswith("bias") else 1.0)
