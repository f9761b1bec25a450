"""A model folder, ready to use.

Weights, tokenizer, device, and what `diffutron.json` says of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from diffutron.config.names import CALIBRATION
from diffutron.inference.results import Trace, decode_events, prompt_as_text
from diffutron.modeling.encoder import read_model
from diffutron.modeling.head import unwrap_masked_lm
from diffutron.modeling.tokenizer import read_tokenizer
from diffutron.runtime.errors import UserError
from diffutron.runtime.files import read_json
from diffutron.runtime.hub import CHECKPOINT, is_hub_name, open_repository, split_name

Device = str | torch.device | None
Dtype = str | torch.dtype | None


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """`model`: a `ModernBertForMaskedLM` in evaluation mode on `device`; `tokenizer`: its fast
    tokenizer.

    info: the folder's `diffutron.json` (`generation`: default settings; `trained_with_eos`: texts
    end with the end token), empty for a checkpoint of another maker. unused_ids: rows of the model
    for which the tokenizer has no token (a vocabulary may be padded to a round number).
    temperatures: of decisions, by the kind of question, from the folder's `calibration.json`.
    """

    model: Any
    tokenizer: Any
    device: torch.device
    info: dict[str, Any] = field(default_factory=dict)
    unused_ids: tuple[int, ...] = ()
    temperatures: dict[str, float] = field(default_factory=dict)

    @property
    def mask_token_id(self) -> int:
        return int(self.tokenizer.mask_token_id)

    @property
    def pad_token_id(self) -> int:
        pad = self.tokenizer.pad_token_id
        return self.mask_token_id if pad is None else int(pad)

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Ids that no text is made of."""
        return tuple(sorted({*self.tokenizer.all_special_ids, *self.unused_ids}))

    @property
    def max_length(self) -> int:
        """Tokens that fit the model."""
        return int(unwrap_masked_lm(self.model).config.max_position_embeddings)

    @property
    def vocab_size(self) -> int:
        return int(unwrap_masked_lm(self.model).config.vocab_size)

    def trace(
        self, prompt: Any, answer: str, events: Any, *, first: int, block_length: int | None
    ) -> Trace:
        """How `answer` came about, from the sampler's events."""
        told = decode_events(self.tokenizer, events, first=first)
        return Trace(prompt_as_text(prompt), answer, told, block_length)

    def check_ids(self, name: str, sequences: Sequence[Sequence[int]], *, room: int = 0) -> None:
        """ValueError naming the argument if ids are unknown to the model, or too many with
        `room` more.
        """
        for number, ids in enumerate(sequences):
            if ids and not 0 <= min(ids) <= max(ids) < self.vocab_size:
                raise ValueError(
                    f"{name}: number {number} holds token ids outside the vocabulary "
                    f"of {self.vocab_size}"
                )
            if len(ids) + room > self.max_length:
                more = f" and {room} new ones" if room else ""
                raise ValueError(
                    f"{name}: number {number} has {len(ids)} tokens{more}; "
                    f"the model holds {self.max_length}"
                )


def load_language_model(
    path: str | Path, *, device: Device = None, dtype: Dtype = None
) -> LanguageModel:
    """Loads a checkpoint folder, an adapter folder (with peft) or a hub name (OWNER/NAME@REVISION).

    device: by default the GPU if there is one. dtype: by default float32. Raises ValueError
    naming `device` for one that is not there, and `path` for anything that is not a ModernBERT
    masked language model with head and mask token.
    """
    place = find_device(device)
    try:
        base = folder = checkpoint_folder(str(path))
        adapter = folder / "adapter_config.json"
        if adapter.is_file():
            named = read_json(adapter).get("base_model_name_or_path")
            if not named:
                raise ValueError("adapter_config.json names no base model")
            base = _base_folder(named, adapter=folder)
        model: Any = read_model(base, dtype=dtype)
        if adapter.is_file():
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
        own = (folder / "tokenizer_config.json").is_file()
        temperatures = _read_temperatures(folder)
        tokenizer = read_tokenizer(folder if own else base, advice="give one beside the weights")
    except (ValueError, UserError) as error:
        raise ValueError(f"path={str(path)!r}: {error}") from error
    described = folder / "diffutron.json"
    info = read_json(described) if described.is_file() else {}
    rows = unwrap_masked_lm(model).config.vocab_size
    unused = tuple(sorted(set(range(rows)).difference(tokenizer.get_vocab().values())))
    return LanguageModel(model.to(place).eval(), tokenizer, place, info, unused, temperatures)


def _read_temperatures(folder: Path) -> dict[str, float]:
    """The temperatures of a calibrated model, none without the file. ValueError."""
    file = folder / CALIBRATION
    if not file.is_file():
        return {}
    try:
        kinds = read_json(file)["kinds"]
        found = {kind: float(values["temperature"]) for kind, values in kinds.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{CALIBRATION} holds no temperatures ({error!r})") from error
    if not all(0 < value < math.inf for value in found.values()):
        raise ValueError(f"{CALIBRATION} holds a temperature that is not above 0")
    return found


def checkpoint_folder(place: str) -> Path:
    """A folder as it is; that of a hub name, OWNER/NAME or OWNER/NAME@REVISION, once it is here.

    Raises:
        ValueError: there is no such folder, and it can be no hub name.
        HubError: the hub does not give it.
    """
    if Path(place).is_dir():
        return Path(place)
    if not is_hub_name(place):
        raise ValueError("there is no such folder")
    name, revision = split_name(place)
    return open_repository(name, revision=revision).fetch(*CHECKPOINT)


def _base_folder(named: str, *, adapter: Path) -> Path:
    """What an adapter names as its base: a place seen from one of the folders above it, else from
    the working folder, else a hub name."""
    for above in adapter.resolve().parents:
        if (above / named).is_dir():
            return above / named
    try:
        return checkpoint_folder(named)
    except (ValueError, UserError) as error:
        raise ValueError(f"its base model {named!r} is not beside it: {error}") from error


def find_device(device: Device) -> torch.device:
    """The device asked for, or the GPU if there is one; ValueError if this machine lacks it."""
    number = torch.cuda.device_count()
    try:
        place = torch.device(device or ("cuda" if number else "cpu"))
    except RuntimeError:
        place = None
    there = place and (
        place.type == "cpu" or (place.type == "cuda" and (place.index or 0) < number)
    )
    if place is None or not there:
        gpus = ", ".join(f"cuda:{n}" for n in range(number)) or "no GPU that this torch can use"
        raise ValueError(f"device={str(device)!r}: this machine has cpu and {gpus}")
    return place
