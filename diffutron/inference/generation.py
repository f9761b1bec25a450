"""What `generate` asks of the sampler: canvases, settings, and where an answer ends."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from diffutron.diffusion.sampling.settings import Settings, generation_settings
from diffutron.inference import prompts as prompting
from diffutron.inference.language_model import LanguageModel


@dataclass(frozen=True, slots=True)
class Generation:
    """canvases: each prompt with masks after it. prompt_ids: the prompts.

    end_token_ids, find_end: the end policy of `diffusion.sampling.denoise`.
    """

    canvases: list[list[int]]
    prompt_ids: list[list[int]]
    settings: Settings
    end_token_ids: list[int]
    find_end: Callable[[list[int]], int | None] | None


def plan_generation(
    lm: LanguageModel, prompts: Sequence[prompting.Prompt], given: Mapping[str, Any], *, chat: bool
) -> Generation:
    """Prompts and the settings `given` (None counts as not), checked and encoded.

    Raises ValueError naming the argument.
    """
    num_new, settings = generation_settings(given, lm.info.get("generation", {}))
    settings = replace(settings, suppress=(*settings.suppress, *lm.unused_ids))
    encoded = prompting.encode(lm.tokenizer, prompts, chat=chat)
    lm.check_ids("prompts", encoded, room=num_new)
    return Generation(
        canvases=[[*ids, *[lm.mask_token_id] * num_new] for ids in encoded],
        prompt_ids=encoded,
        settings=settings,
        end_token_ids=prompting.end_token_ids(lm.tokenizer, chat=chat),
        find_end=prompting.end_finder(lm.tokenizer) if chat else None,
    )
