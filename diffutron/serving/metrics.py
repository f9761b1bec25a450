"""What `/metrics` tells, under vLLM's names where it has one (`vllm:` is `diffutron:` here)."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from diffutron.serving.engine import Engine, Row

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The metrics of one engine; nothing is shared between two of them."""

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        running = Gauge(
            "diffutron:num_requests_running", "Rows of the pass at work.", registry=self.registry
        )
        running.set_function(lambda: engine.num_running)
        waiting = Gauge(
            "diffutron:num_requests_waiting", "Rows that wait for a pass.", registry=self.registry
        )
        waiting.set_function(lambda: max(0, engine.num_held - engine.num_running))
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
        self.registry.register(_Passes(engine))

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


class _Passes(Collector):
    """The engine's own counts, read when they are asked for."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def collect(self) -> list[CounterMetricFamily]:
        engine = self.engine
        counts = {
            "passes": ("Model passes of the sampler.", engine.num_passes),
            "row_passes": ("Rows that took part in them.", engine.num_row_passes),
            "generation_tokens": ("Tokens generated.", engine.num_committed),
        }
        return [
            CounterMetricFamily(f"diffutron:{name}", text, value=value)
            for name, (text, value) in counts.items()
        ]
