"""Standard output that holds one JSON object and nothing else."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any


def only_json(wanted: bool) -> Callable[[Any], None]:
    """What prints the result, where JSON is wanted; else it prints nothing.

    From here on all other output goes to standard error, also that of other processes.
    """
    if not wanted:
        return lambda values: None
    result = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdout.flush()
    os.dup2(2, 1)
    return lambda values: print(json.dumps(values, ensure_ascii=False), file=result, flush=True)
