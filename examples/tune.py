"""Tune a model on fifty rows and ask it before and after.

python examples/tune.py [MODEL]        # writes tuned-on-fifty/
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROWS = Path(__file__).parents[1] / "docs" / "examples" / "requests.jsonl"
model = sys.argv[1] if len(sys.argv) > 1 else "models/phase2"

with tempfile.TemporaryDirectory() as folder:
    data = Path(folder) / "fifty.jsonl"
    data.write_text("".join(ROWS.read_text("utf-8").splitlines(keepends=True)[:50]), "utf-8")
    command = [sys.executable, "-m", "diffutron", "tune", "--model", model, "--data", str(data)]
    # The command line does all of it: held-out rows, training, answers before and after, a card.
    raise SystemExit(subprocess.run([*command, "--out", "tuned-on-fifty"], check=False).returncode)
