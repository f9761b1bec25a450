"""The denoising loop on a table, with the settings that a test does not name."""

from diffutron.diffusion.sampling.canvas import Denoised
from diffutron.diffusion.sampling.denoise import denoise
from diffutron.diffusion.sampling.settings import Settings


def run(
    table, canvases, *, seed=0, batch_rows=8, trace=True, fn=None, **settings
) -> list[Denoised]:
    ends = {name: settings.pop(name) for name in ("end_token_ids", "find_end") if name in settings}
    return denoise(
        fn or table.logits_fn,
        canvases,
        mask_token_id=table.mask,
        pad_token_id=0,
        settings=Settings(**{"num_steps": 8, **settings}),
        seed=seed,
        batch_rows=batch_rows,
        trace=trace,
        **ends,
    )
