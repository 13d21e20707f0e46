"""Metrics in Prometheus' text format: the portal's own requests, and the house's figures.

Read by administrators, by programs with an administrator's API key, and from the networks that the
setting names. Requests are told by route template and status alone, never by address, person or object.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portal.access import Permission, require_network_or
from portal.kept import kept_figures
from workflow.read_metrics import HouseMetrics, read_metrics

router = APIRouter()

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
#: One label for whatever names no route: an address that somebody makes up is never a label.
_NO_ROUTE: Final = "none"


class RequestMetrics:
    """Counts and seconds of this process's requests."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter("gotong_portal_requests", "Requests", labels, registry=self.registry)
        self.seconds = Histogram(
            "gotong_portal_request_seconds",
            "Seconds until an answer begins",
            labels[:2],
            buckets=_BUCKETS,
            registry=self.registry,
        )


class MeasureRequests:
    """Counts every answer as it begins; a stream's length is the reader's affair."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()

        async def measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(scope, message["status"], time.perf_counter() - begun)
            await send(message)

        try:
            await self._app(scope, receive, measured)
        except Exception:
            self._count(scope, 500, time.perf_counter() - begun)
            raise

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        template = getattr(scope.get("route"), "path", None)
        static = scope["path"].startswith("/static/") and status < 400
        route = template or ("/static" if static else _NO_ROUTE)
        method = scope["method"] if scope["method"] in _METHODS else _NO_ROUTE
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)


class _House:
    """The house's figures as metrics; ``read_at`` tells how old they are."""

    def __init__(self, metrics: HouseMetrics, read_at: dt.datetime) -> None:
        self._metrics = metrics
        self._read_at = read_at

    def collect(self) -> Iterator[Metric]:
        """Every figure as Prometheus wants it."""
        house = self._metrics
        yield _counter("gotong_events", "Accepted events", ("type", "outcome"), house.events)
        letters = ("topic", "reason", "state")
        yield _gauge("gotong_dead_letters", "Refused events", letters, house.dead_letters)
        outbox = {key: each.messages for key, each in house.outbox.items()}
        ages = {key: each.oldest_seconds for key, each in house.outbox.items()}
        yield _gauge("gotong_outbox_messages", "Messages not done", ("topic", "kind"), outbox)
        yield _gauge("gotong_outbox_oldest_seconds", "Age of the oldest", ("topic", "kind"), ages)
        share = "Part of a fund that is reserved, spent or gone"
        yield _gauge("gotong_fund_used_share", share, ("regency", "kind", "fund"), house.used_share)
        gaps = {(code,): run.gap for code, run in house.runs.items()}
        seconds = {(code,): run.seconds for code, run in house.runs.items()}
        needs = {(code,): run.needs for code, run in house.runs.items()}
        proposed = {(code,): run.proposed for code, run in house.runs.items()}
        finished = {(code,): run.finished_at.timestamp() for code, run in house.runs.items()}
        regency = ("regency",)
        yield _gauge("gotong_run_gap", "The last match's proven relative gap in coverage", regency, gaps)
        yield _gauge("gotong_run_seconds", "What the last match took", regency, seconds)
        yield _gauge("gotong_run_needs", "Needs in the last match", regency, needs)
        yield _gauge("gotong_run_proposed", "Needs that the last match funds", regency, proposed)
        yield _gauge("gotong_run_finished_timestamp_seconds", "When it ended", regency, finished)
        kinds = ("scope", "kind", "severity", "state")
        yield _gauge("gotong_alerts", "Budget alerts", kinds, house.alerts)
        halted = {(code,): float(halted) for code, halted in house.halted.items()}
        yield _gauge("gotong_regency_halted", "1 when a regency allocates no more", regency, halted)
        yield _gauge("gotong_paused_topics", "Topics whose intake is paused", (), {(): house.paused_topics})
        connections = {(): house.worker_connections}
        yield _gauge("gotong_worker_connections", "Stream workers' database connections", (), connections)
        read_at = {(): self._read_at.timestamp()}
        yield _gauge("gotong_read_timestamp_seconds", "When these figures were read", (), read_at)


@router.get("/metrics")
def show_metrics(request: Request, _: None = require_network_or(Permission.READ_METRICS)) -> Response:
    """This process's requests and the house's figures."""
    portal = request.app.state.portal
    kept = kept_figures(request.app, "metrics", lambda _: read_metrics(portal.engine)).of("house")
    house = CollectorRegistry()
    house.register(_House(kept.value, kept.read_at))
    own: RequestMetrics = request.app.state.request_metrics
    return Response(
        generate_latest(own.registry) + generate_latest(house), media_type=CONTENT_TYPE_PLAIN_0_0_4
    )


def install_metrics(app: FastAPI) -> None:
    """Count the application's requests from now on."""
    app.state.request_metrics = RequestMetrics()
    app.add_middleware(MeasureRequests, metrics=app.state.request_metrics)


def _gauge(name: str, about: str, labels: tuple[str, ...], values: Any) -> Metric:
    return _fill(GaugeMetricFamily(name, about, labels=labels), values)


def _counter(name: str, about: str, labels: tuple[str, ...], values: Any) -> Metric:
    return _fill(CounterMetricFamily(name, about, labels=labels), values)


def _fill(family: Any, values: Any) -> Metric:
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    filled: Metric = family
    return filled
