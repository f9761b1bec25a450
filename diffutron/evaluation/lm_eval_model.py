"""Our models for lm-eval's own command line, scored by the scorer of the leaderboard.

    python -m diffutron.evaluation.lm_eval_model run --model diffutron \\
        --model_args path=models/phase2 --tasks xcopa_tr \\
        --include_path diffutron/evaluation/cetvel --metadata '{"source": "sample"}'
"""

from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from diffutron.diffusion.likelihood.any_order import nelbo
from diffutron.diffusion.sampling.denoise import denoise
from diffutron.diffusion.sampling.settings import Settings
from diffutron.evaluation.cetvel.protocols import PROTOCOLS
from diffutron.evaluation.cetvel.questions import Question
from diffutron.evaluation.scorers.masked_diffusion import MaskedDiffusion
from diffutron.evaluation.scoring.answering import answer_batches
from diffutron.inference.language_model import load_language_model
from diffutron.modeling.encoding import encode_texts
from diffutron.modeling.head import logits_fn
from diffutron.runtime.progress import Progress


class DiffutronLM(LM):
    """lm-eval's view of a masked diffusion encoder.

    Args:
        path: A model folder or a hub name.
        max_rows: Model rows that a continuation may cost; it is exact where 2^tokens - 1 rows are
            allowed.
        seed: Of the estimates and of generated text.
        batch_tokens: Tokens that run through the model at a time, without influence on the values.
        device: By default the GPU, if there is one.
        unused: What lm-eval hands to every model (`batch_size`).
    """

    def __init__(
        self,
        path: str,
        *,
        max_rows: int = 16,
        seed: int = 0,
        batch_tokens: int = 16_384,
        device: str | None = None,
        **unused: Any,
    ) -> None:
        super().__init__()
        lm = load_language_model(path, device=device)
        self.scorer = MaskedDiffusion(
            lm.model, lm.tokenizer, max_rows=max_rows, seed=seed, batch_tokens=batch_tokens
        )

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """(bound in nats, False) of each (context, continuation).

        Whether the continuation is the greedy one is not computed: no task here asks for it.
        """
        wanted: dict[str, dict[str, float]] = {}
        for context, continuation in _arguments(requests):
            wanted.setdefault(context, {})[continuation] = 0.0
        questions = [
            Question("", number, context, tuple(choices), "", -1, "", {})
            for number, (context, choices) in enumerate(wanted.items())
        ]
        with Progress(total=len(questions), desc="score", unit="context") as bar:
            for part in answer_batches(self.scorer, questions, PROTOCOLS["corrected"]):
                for question, answer in part:
                    values = zip(question.choices, answer.logprobs, strict=True)
                    wanted[question.context].update(values)
                bar.update(len(part))
        return [(wanted[context][choice], False) for context, choice in _arguments(requests)]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """The bound on the log-likelihood of each whole text, in windows where it is long."""
        scorer = self.scorer
        found = nelbo(
            scorer.fn,
            encode_texts(scorer.tokenizer, [text for (text,) in _arguments(requests)]),
            begin=scorer.begin,
            max_length=scorer.max_length,
            mask_token_id=scorer.tokenizer.mask_token_id,
            pad_token_id=scorer.tokenizer.pad_token_id,
            num_samples=scorer.max_rows,
            batch_rows=max(1, scorer.batch_tokens // scorer.max_length),
            seed=scorer.seed,
            device=scorer.device,
        )
        return [score.logprob for score in found]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Text after each context, cut at the first of its `until` strings.

        Each request has `until`, `max_gen_toks` (64) and `temperature` (0); one denoising step per
        token.
        """
        texts = [""] * len(requests)
        same: dict[tuple[int, float], list[int]] = {}
        for number, (_, wanted) in enumerate(_arguments(requests)):
            key = int(wanted.get("max_gen_toks", 64)), float(wanted.get("temperature", 0.0))
            same.setdefault(key, []).append(number)
        for (num_tokens, temperature), numbers in same.items():
            contexts = [_arguments(requests)[number][0] for number in numbers]
            found = self._generate(contexts, num_tokens, temperature)
            for number, text in zip(numbers, found, strict=True):
                stops = _arguments(requests)[number][1].get("until", [])
                for stop in filter(None, [stops] if isinstance(stops, str) else stops):
                    text = text.split(stop)[0]
                texts[number] = text
        return texts

    def _generate(
        self, contexts: Sequence[str], num_tokens: int, temperature: float
    ) -> Sequence[str]:
        scorer, tokenizer = self.scorer, self.scorer.tokenizer
        mask, room = tokenizer.mask_token_id, scorer.max_length - len(scorer.begin) - num_tokens
        canvases = [
            [*scorer.begin, *ids[max(0, len(ids) - room) :], *[mask] * num_tokens]
            for ids in encode_texts(tokenizer, contexts)
        ]
        rows = denoise(
            logits_fn(scorer.model, mask_token_id=mask),
            canvases,
            mask_token_id=mask,
            pad_token_id=tokenizer.pad_token_id,
            settings=Settings(num_steps=num_tokens, temperature=temperature),
            seed=scorer.seed,
            end_token_ids=[tokenizer.eos_token_id],
            batch_rows=max(1, scorer.batch_tokens // max(map(len, canvases))),
            device=scorer.device,
        )
        return tokenizer.batch_decode([row.token_ids for row in rows], skip_special_tokens=True)


def _arguments(requests: list[Instance]) -> list[Any]:
    return [request.args for request in requests]


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    register_model("diffutron")(DiffutronLM)
    cli_evaluate()
