from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from streams.settings import StreamSettings
from streams.topics import ensure_topics
from tests.faults.life import Life
from tests.faults.warm_worker import WarmWorker
from tests.integration.streams.conftest import engine, settings

__all__ = ["brief", "engine", "life", "settings", "start_worker"]

StartWorker = Callable[..., WarmWorker]


def shorten(settings: StreamSettings) -> StreamSettings:
    """Under these a dead worker is missed after two seconds, and a frozen one lets go of its locks."""
    return replace(
        settings,
        session_timeout_seconds=2.0,
        relay_rest_seconds=0.2,
        lead_patience_seconds=4.0,
        transaction_patience_seconds=4.0,
        stop_timeout_seconds=60.0,  # the rounds are about the books, not about how busy the machine is
    )


@pytest.fixture
def brief(settings: StreamSettings) -> StreamSettings:
    """Short time-outs, on a broker whose topics exist."""
    asyncio.run(ensure_topics(settings))
    return shorten(settings)


@pytest.fixture
def life(engine: Engine, brief: StreamSettings) -> Life:
    return Life(engine, brief)


@pytest.fixture
def start_worker() -> Iterator[StartWorker]:
    """Starts forked workers; whatever still runs at the end of the test is killed."""
    started: list[WarmWorker] = []

    def start(settings: StreamSettings, *, failpoint: str | None = None) -> WarmWorker:
        started.append(WarmWorker(settings, failpoint=failpoint))
        return started[-1]

    yield start
    for worker in started:
        worker.close()
