"""A masked diffusion model as an lm-eval `LM`, and the seven tasks run on it.

A choice is scored by the any-order bound on log p(choice | prompt) of `diffutron.diffusion`; the
two strings are encoded as one and cut by offsets, so no token is lost (protocol `corrected`).
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import lm_eval.api.task
from lm_eval import evaluator
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from diffutron.data.evaluation_sets.evaluation_sets import EvaluationSet
from diffutron.diffusion.likelihood.any_order import (
    Score,
    add_scores,
    nelbo,
    score_continuations,
    windows,
)
from diffutron.diffusion.likelihood.masked_rows import Item
from diffutron.diffusion.sampling.denoise import denoise
from diffutron.diffusion.sampling.settings import Settings
from diffutron.evaluation.cetvel import prompts
from diffutron.evaluation.cetvel.task_files import TWO_WAY_CHOICES
from diffutron.modeling.encoding import begin_ids, encode_pairs, encode_texts, move_space
from diffutron.modeling.head import logits_fn, logprob_fn
from diffutron.modeling.tokenizer import end_token_id
from diffutron.runtime.progress import Progress

CETVEL = Path(prompts.__file__).parent


class DiffusionLM(LM):
    """lm-eval's view of a masked diffusion encoder; requests are sorted and batched here.

    max_rows: model rows a continuation may cost; it is exact where 2^tokens - 1 rows are allowed.
    counts: what happened to the requests (`requests`, `straddled`, `truncated`, `windowed`).
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        max_rows: int,
        seed: int = 0,
        batch_tokens: int = 16_384,
        desc: str = "score",
    ) -> None:
        super().__init__()
        self._device: Any = model.device
        self.model, self.tokenizer = model, tokenizer
        self.max_rows, self.seed, self.batch_tokens, self.desc = max_rows, seed, batch_tokens, desc
        self.max_length: int = model.config.max_position_embeddings
        self.begin = begin_ids(tokenizer)
        self.fn = logprob_fn(model, mask_token_id=tokenizer.mask_token_id)
        self.scores: dict[tuple[str, str], Score] = {}
        self.counts = {"requests": 0, "straddled": 0, "truncated": 0, "windowed": 0}

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """(bound in nats, False) of each (context, continuation).

        Whether the continuation is the greedy one is not computed: the tasks here do not ask.
        """
        pairs = [(str(_args(request)[0]), str(_args(request)[1])) for request in requests]
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self.scores]
        self.scores |= dict(zip(new, self.score(new), strict=True))
        return [(self.scores[pair].logprob, False) for pair in pairs]

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Score]:
        """The bound of each (context, continuation), windows of a long one added up."""
        encoded = encode_pairs(self.tokenizer, [move_space(*pair) for pair in pairs])
        self.counts["requests"] += len(pairs)
        self.counts["straddled"] += sum(pair.split_token for pair in encoded)
        parts = [self._items(pair.context, pair.continuation) for pair in encoded]
        scores = iter(self._score_items([item for items in parts for item in items]))
        return [add_scores(next(scores) for _ in items) for items in parts]

    def _items(self, context: Sequence[int], continuation: Sequence[int]) -> list[Item]:
        """The pair as it fits the model: a long context loses its beginning."""
        room = self.max_length - len(self.begin) - len(continuation)
        if room < 0:
            self.counts["windowed"] += 1
            return windows(self.begin, continuation, max_length=self.max_length)
        self.counts["truncated"] += len(context) > room
        return [([*self.begin, *context[max(0, len(context) - room) :]], continuation)]

    def _score_items(self, items: Sequence[Item]) -> list[Score]:
        scores: list[Score | None] = [None] * len(items)
        cost = [_cost(item, self.max_rows) for item in items]
        with Progress(total=sum(cost), desc=self.desc, unit="token") as bar:
            for numbers in self._chunks(items):
                found = score_continuations(
                    self.fn,
                    [items[number] for number in numbers],
                    mask_token_id=self.tokenizer.mask_token_id,
                    pad_token_id=self.tokenizer.pad_token_id,
                    max_rows=self.max_rows,
                    batch_rows=self._batch_rows(items, numbers),
                    seed=self.seed,
                    device=self.model.device,
                )
                for number, score in zip(numbers, found, strict=True):
                    scores[number] = score
                bar.update(sum(cost[number] for number in numbers))
        return [score for score in scores if score is not None]

    def _chunks(self, items: Sequence[Item]) -> Iterator[list[int]]:
        """Item numbers by length, those of one context together, about eight batches at a time."""
        by_context: dict[tuple[int, ...], list[int]] = {}
        for number, (context, _) in enumerate(items):
            by_context.setdefault(tuple(context), []).append(number)
        chunk: list[int] = []
        cost = 0
        for context in sorted(by_context, key=len):
            chunk += by_context[context]
            cost += sum(_cost(items[number], self.max_rows) for number in by_context[context])
            if cost >= 8 * self.batch_tokens:
                yield chunk
                chunk, cost = [], 0
        if chunk:
            yield chunk

    def _batch_rows(self, items: Sequence[Item], numbers: Sequence[int]) -> int:
        longest = max(_length(items[number]) for number in numbers)
        return max(1, self.batch_tokens // longest)

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """The bound on the log-likelihood of each whole text, in windows where it is long."""
        texts = encode_texts(self.tokenizer, [str(_args(request)[0]) for request in requests])
        longest = min(self.max_length, max(map(len, texts), default=1) + len(self.begin))
        found = nelbo(
            self.fn,
            texts,
            begin=self.begin,
            max_length=self.max_length,
            mask_token_id=self.tokenizer.mask_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
            num_samples=self.max_rows,
            batch_rows=max(1, self.batch_tokens // longest),
            seed=self.seed,
            device=self.model.device,
        )
        return [score.logprob for score in found]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Text after each context, cut at the first of its `until` strings.

        gen_kwargs: `until`, `max_gen_toks` (64), `temperature` (0); one denoising step a token.
        """
        texts: list[str] = [""] * len(requests)
        same: dict[tuple[int, float], list[int]] = {}
        for number, request in enumerate(requests):
            wanted = _args(request)[1]
            key = int(wanted.get("max_gen_toks", 64)), float(wanted.get("temperature", 0.0))
            same.setdefault(key, []).append(number)
        for (num_tokens, temperature), numbers in same.items():
            contexts = [str(_args(requests[number])[0]) for number in numbers]
            settings = Settings(num_steps=num_tokens, temperature=temperature)
            found = self._generate(contexts, num_tokens, settings)
            for number, text in zip(numbers, found, strict=True):
                texts[number] = _until(text, _args(requests[number])[1].get("until", []))
        return texts

    def _generate(self, contexts: Sequence[str], num_tokens: int, settings: Settings) -> list[str]:
        room = self.max_length - len(self.begin) - num_tokens
        mask = self.tokenizer.mask_token_id
        canvases = [
            [*self.begin, *ids[max(0, len(ids) - room) :], *[mask] * num_tokens]
            for ids in encode_texts(self.tokenizer, contexts)
        ]
        found = denoise(
            logits_fn(self.model, mask_token_id=mask),
            canvases,
            mask_token_id=mask,
            pad_token_id=self.tokenizer.pad_token_id,
            settings=settings,
            seed=self.seed,
            end_token_ids=[end_token_id(self.tokenizer)],
            batch_rows=max(1, self.batch_tokens // max(map(len, canvases))),
            device=self.model.device,
        )
        return self.tokenizer.batch_decode(
            [row.token_ids for row in found], skip_special_tokens=True
        )


def _args(request: Instance) -> tuple[Any, ...]:
    return request.args


def _until(text: str, stops: str | Sequence[str]) -> str:
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.split(stop)[0] if stop else text
    return text


def _length(item: Item) -> int:
    return len(item[0]) + len(item[1])


def _cost(item: Item, max_rows: int) -> int:
    return _length(item) * min(max_rows, 2 ** len(item[1]) - 1)


def build_tasks(
    sets: Sequence[EvaluationSet], *, casing: Literal["turkish", "cetvel"]
) -> dict[str, Any]:
    """lm-eval's task objects for these rows, by task."""
    with _quiet():
        manager = TaskManager(
            include_path=str(CETVEL),
            include_defaults=False,
            metadata={"sets": {one.task: one.rows for one in sets}},
        )
        tasks: dict[str, Any] = dict(manager.load([one.task for one in sets])["tasks"])
    for one in sets:
        task = tasks[one.task]
        task.set_config("metadata", {"version": task.VERSION})  # lm-eval copies it at each run
        if one.stand_in == "mnli_tr":
            task.set_config("doc_to_choice", TWO_WAY_CHOICES)
    if casing == "cetvel" and "xcopa_tr" in tasks:
        tasks["xcopa_tr"].set_config("doc_to_choice", prompts.xcopa_choices_cetvel)
    return tasks


def run_tasks(
    lm: DiffusionLM, tasks: dict[str, Any], *, chosen: dict[str, list[int]]
) -> dict[str, list[dict[str, Any]]]:
    """lm-eval's samples of each task, for the rows `chosen` by index."""
    with _quiet():
        results: Any = evaluator.evaluate(
            lm, {"tasks": tasks}, samples=chosen, bootstrap_iters=0, log_samples=True
        )
    return results["samples"]


@contextmanager
def _quiet() -> Iterator[None]:
    """lm-eval without its bars and hints: the stage shows its own progress."""
    logger = logging.getLogger("lm_eval")
    module: Any = lm_eval.api.task
    level, bar = logger.level, module.tqdm
    logger.setLevel(logging.ERROR)
    module.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        logger.setLevel(level)
        module.tqdm = bar
