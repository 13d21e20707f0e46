"""A worker's metrics: steps are counted by topic, whatever becomes of them."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest

from streams.measure import StepMetrics, serve_metrics
from streams.settings import StreamSettings


def read(metrics: StepMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_step_is_counted_and_timed() -> None:
    metrics, seen = StepMetrics(), list[int]()

    def step(events: Sequence[Any], refusals: Sequence[Any]) -> object:
        seen.append(len(events))
        if len(events) == 3:
            raise OSError
        return "outcome"

    measured = metrics.measure({"topic": step})["topic"]
    thing: Any = object()
    events: list[Any] = [thing, thing]
    refusals: list[Any] = [object()]
    assert measured(events, refusals) == "outcome"
    with pytest.raises(OSError):
        measured([*events, thing], refusals)
    assert seen == [2, 3]
    assert read(metrics, "gotong_worker_events_total", topic="topic", kind="event") == 2
    assert read(metrics, "gotong_worker_events_total", topic="topic", kind="unreadable") == 1
    assert read(metrics, "gotong_worker_step_failures_total", topic="topic") == 1
    assert read(metrics, "gotong_worker_step_seconds_count", topic="topic") == 1


def test_a_port_that_is_taken_keeps_no_worker_from_its_work() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = StreamSettings("postgresql://x", "x:1", b"", metrics_port=port)
        with serve_metrics(StepMetrics(), settings):
            pass
    opener = build_opener(ProxyHandler({}))
    with (
        serve_metrics(StepMetrics(), settings),
        opener.open(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer,
    ):
        assert answer.status == 200
