"""A denoising trace as one self-contained page: slider, play button, confidence by color."""

import json
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).parent / "templates" / "trace.html"
PLACE = "__TRACES__"


def trace_page(traces: list[dict[str, Any]]) -> str:
    """The page that plays the traces (`Trace.as_dict`), one after the other; needs no network."""
    data = json.dumps(traces, ensure_ascii=False).replace("<", "\\u003c")
    return TEMPLATE.read_text(encoding="utf-8").replace(PLACE, data)
