"""Masked diffusion language models, Turkish first: make, judge and run them.

`load`, `generate`, `infill`, `decide`, `score` and `nelbo` come from `diffutron.api` when first
used, so that importing the package stays cheap.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffutron.api import decide, generate, infill, load, nelbo, score

    __version__: str

__all__ = ["__version__", "decide", "generate", "infill", "load", "nelbo", "score"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("diffutron")
    if name in __all__:
        from diffutron import api

        return getattr(api, name)
    raise AttributeError(f"module 'diffutron' has no attribute {name!r}")
