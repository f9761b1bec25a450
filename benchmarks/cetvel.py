"""What scoring multiple-choice questions costs beyond the model: `python -m benchmarks.cetvel`.

Questions of four one-token choices on a model of the given shape, random weights. rows_per_item:
model rows a question, 1 where the choices share one. padding: share of the tokens that run through
the model. overhead_ms_per_item: wall time less time inside the model, after start-up;
overhead_cpu_ms_per_item: the same in processor time, which a busy machine does not change.
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import ModernBertConfig, ModernBertForMaskedLM

from diffutron.evaluation.cetvel.protocols import PROTOCOLS
from diffutron.evaluation.cetvel.questions import Question
from diffutron.evaluation.scorers.masked_diffusion import MaskedDiffusion
from diffutron.evaluation.scoring.answer_cache import AnswerCache
from diffutron.evaluation.scoring.answering import answer_all
from diffutron.modeling.tokenizer import train
from diffutron.runtime.yaml_files import read_yaml

LETTERS = ("A", "B", "C", "D")
WORDS = ("kedi", "bahçede", "uyudu", "köpek", "evde", "bekledi", "yarın", "sabah", "yola", "çıktı")
# hidden size, layers, heads, intermediate size, vocabulary
SHAPES = {
    "tiny": (64, 2, 2, 96, 2500),
    "small": (256, 6, 4, 512, 16_000),
    "307m": (768, 22, 12, 1152, 256_000),
}


class Watched:
    """A model function that counts its rows, tokens and seconds."""

    def __init__(self, fn: Any) -> None:
        self.fn, self.rows, self.real, self.all = fn, 0, 0, 0
        self.seconds = self.cpu = 0.0

    def __call__(self, ids: torch.Tensor, mask: torch.Tensor | None, *rest: torch.Tensor) -> Any:
        started, cpu = time.perf_counter(), time.process_time()
        found = self.fn(ids, mask, *rest)
        if ids.is_cuda:
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - started
        self.cpu += time.process_time() - cpu
        self.rows += len(ids)
        self.all += ids.numel()
        self.real += ids.numel() if mask is None else int(mask.sum())
        return found


def questions(number: int) -> list[Question]:
    """Questions of 5 to 60 words, each another one."""
    draw = random.Random(0)
    return [
        Question(
            task="benchmark",
            row=n,
            context=" ".join([f"{n}", *draw.choices(WORDS, k=draw.randint(5, 60)), "Cevap:"]),
            choices=LETTERS,
            delimiter=" ",
            gold=0,
            group=f"row {n}",
            doc={},
        )
        for n in range(number)
    ]


def scorer_of(shape: str) -> MaskedDiffusion:
    """A model with random weights and a tokenizer in which every letter is one token."""
    from diffutron.config.params import parse_params

    values = read_yaml(Path("infra/profiles/demo.yaml"))
    section = parse_params(values, origin="demo").tokenizer.model_copy(update={"vocab_size": 600})
    text = f"{' '.join(WORDS)} Cevap: " + "".join(f" {letter}" for letter in LETTERS)
    tokenizer = train([text] * 50, section)
    hidden, layers, heads, intermediate, vocabulary = SHAPES[shape]
    config = ModernBertConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        cls_token_id=tokenizer.bos_token_id,
        sep_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = ModernBertForMaskedLM(config).to(device).eval()
    return MaskedDiffusion(model, tokenizer, max_rows=16)


def measure(shape: str, items: int) -> dict[str, Any]:
    """One run over `items` questions after a short one that warms up."""
    scorer = scorer_of(shape)
    asked = questions(items + 32)
    with tempfile.TemporaryDirectory() as folder:
        for part, name in ((asked[items:], "warm"), (asked[:items], "run")):
            watched = Watched(scorer.fn if name == "warm" else scorer.fn.fn)
            scorer.fn = watched
            cache = AnswerCache(Path(folder), (shape,), name=name)
            started, began = time.perf_counter(), time.process_time()
            answer_all(scorer, part, PROTOCOLS["corrected"], cache)
            wall, cpu = time.perf_counter() - started, time.process_time() - began
    return {
        "shape": shape,
        "items": items,
        "rows_per_item": watched.rows / items,
        "padding": 1 - watched.real / watched.all,
        "overhead_ms_per_item": 1000 * (wall - watched.seconds) / items,
        "overhead_cpu_ms_per_item": 1000 * (cpu - watched.cpu) / items,
        "model_ms_per_item": 1000 * watched.seconds / items,
        "seconds": wall,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="307m")
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    given = parser.parse_args()
    if given.items < 1:
        parser.error(f"--items {given.items}: at least 1")
    found = measure(given.shape, given.items)
    if given.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:22} {value}")


if __name__ == "__main__":
    main()
