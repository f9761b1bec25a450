"""Write an answer, and see in which order its tokens came.

python examples/generate.py            # the demo's model: make demo
python examples/generate.py OWNER/NAME # a folder, a version or a name of the hub
"""

import sys

import diffutron
from diffutron.inference.results import Committed

MODEL = sys.argv[1] if len(sys.argv) > 1 else "models/phase2"
PROMPT = "Cümle: Sabah stadyumda takım rekor kırmış.\nSoru: Bu cümlenin konusu nedir?\n Cevap:"


def show(row: int, committed: list[Committed]) -> None:
    """One line per model pass: which token was kept at which place, and how sure it was."""
    print("  ".join(f"[{one.position}] {one.text!r} {one.confidence:.2f}" for one in committed))


lm = diffutron.load(MODEL)
answer = diffutron.generate(
    lm, [PROMPT], max_new_tokens=12, num_steps=12, block_length=12, watch=show
)[0]
print(f"\n{PROMPT}\n-> {answer.text}")

filled = diffutron.infill(
    lm, ["Cuma Kerem sahilde şapka buldu. Kerem cuma sahilde [MASK] buldu mu? Evet."]
)[0]
print(f"\ninfilled: {filled.text}")
