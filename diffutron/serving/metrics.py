"""What `/metrics` tells, under vLLM's names where it has one (`vllm:` is `diffutron:` here)."""

import threading
from collections import Counter as Sums

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from diffutron.serving.engine import Engine, Row

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
SUMS = (
    ("passes", "Model passes of the sampler."),
    ("row_passes", "Rows that took part in them."),
    ("generation_tokens", "Tokens generated."),
)


class Metrics:
    """The metrics of one server, whose engines come and go."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.engines = Engines()
        self.registry.register(self.engines)
        self.version = Gauge(
            "diffutron:model_version", "The registered version served.", registry=self.registry
        )
        self.taken = self._counter("versions_taken", "Versions that took over.")
        self.not_taken = self._counter("versions_refused", "Versions that failed their test.")
        self.queue_time = self._histogram("request_queue_time_seconds", "Until the first pass.")
        self.first_token = self._histogram("time_to_first_token_seconds", "Until text is final.")
        self.latency = self._histogram("e2e_request_latency_seconds", "Until the text is whole.")
        self.prompt_tokens = self._counter("prompt_tokens", "Tokens read.")
        self.finished = Counter(
            "diffutron:request_success",
            "Texts that were finished.",
            ["finished_reason"],
            registry=self.registry,
        )
        self.refused = Counter(
            "diffutron:request_refused", "Errors told.", ["status"], registry=self.registry
        )

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"diffutron:{name}", text, buckets=_SECONDS, registry=self.registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"diffutron:{name}", text, registry=self.registry)

    def row_finished(self, row: Row, *, now: float, reason: str) -> None:
        self.finished.labels(reason).inc()
        self.latency.observe(now - row.arrived)
        if row.started is not None:
            self.queue_time.observe(row.started - row.arrived)

    def text(self) -> bytes:
        return generate_latest(self.registry)


class Engines(Collector):
    """The engines' own counts, read when they are asked for.

    What an engine has counted stays in the sums when it ends, so that no counter falls.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.at_work: list[Engine] = []
        self.ended = Sums[str]()

    def add(self, engine: Engine) -> None:
        with self.lock:
            self.at_work.append(engine)

    def drop(self, engine: Engine) -> None:
        """For an engine that has ended."""
        with self.lock:
            self.at_work.remove(engine)
            self.ended.update(_counts(engine))

    def collect(self) -> list[Metric]:
        with self.lock:
            sums = Sums(self.ended)
            for engine in self.at_work:
                sums.update(_counts(engine))
            running = sum(engine.num_running for engine in self.at_work)
            held = sum(engine.num_held for engine in self.at_work)
        waiting = max(0, held - running)
        return [
            *(CounterMetricFamily(f"diffutron:{name}", text, sums[name]) for name, text in SUMS),
            GaugeMetricFamily("diffutron:num_requests_running", "Rows of a pass at work.", running),
            GaugeMetricFamily("diffutron:num_requests_waiting", "Rows that wait.", waiting),
        ]


def _counts(engine: Engine) -> dict[str, int]:
    counts = (engine.num_passes, engine.num_row_passes, engine.num_committed)
    return {name: count for (name, _), count in zip(SUMS, counts, strict=True)}
