"""Measure: how many events each workflow step took, how long it worked, and how often it failed.

Labels are topics alone; nothing of an event is in a metric.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from models.message import EventEnvelope, Refusal
from streams.processing import Step
from streams.settings import StreamSettings

_log = structlog.get_logger("gotong.streams.measure")

_BUCKETS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class StepMetrics:
    """What this worker's steps did since it started."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._events = Counter(
            "gotong_worker_events",
            "Events given to a step; unreadable are those that never became an event",
            ("topic", "kind"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "gotong_worker_step_seconds", "A batch", ("topic",), buckets=_BUCKETS, registry=self.registry
        )
        self._failures = Counter(
            "gotong_worker_step_failures",
            "Batches that a step did not finish and that are tried again",
            ("topic",),
            registry=self.registry,
        )

    def measure(self, steps: Mapping[str, Step]) -> dict[str, Step]:
        """The same steps, counted and timed."""
        return {topic: self._measured(topic, step) for topic, step in steps.items()}

    def _measured(self, topic: str, step: Step) -> Step:
        def work(events: Sequence[EventEnvelope], refusals: Sequence[Refusal]) -> object:
            begun = time.perf_counter()
            try:
                outcome = step(events, refusals)
            except Exception:
                self._failures.labels(topic).inc()
                raise
            self._seconds.labels(topic).observe(time.perf_counter() - begun)
            self._events.labels(topic, "event").inc(len(events))
            self._events.labels(topic, "unreadable").inc(len(refusals))
            return outcome

        return work


@contextmanager
def serve_metrics(metrics: StepMetrics, settings: StreamSettings) -> Iterator[None]:
    """Answer a monitoring system at the port of the settings, if there is one; work goes on without."""
    if settings.metrics_port is None:
        yield
        return
    try:
        server, thread = start_http_server(settings.metrics_port, settings.metrics_host, metrics.registry)
    except OSError as error:
        _log.warning("no_metrics", port=settings.metrics_port, error=type(error).__name__)
        yield
        return
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
