from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from streams.settings import StreamSettings
from streams.topics import ensure_topics
from tests.faults.life import Life
from tests.integration.streams.conftest import engine, settings, start_worker

__all__ = ["brief", "engine", "life", "settings", "start_worker"]


@pytest.fixture
def brief(settings: StreamSettings) -> StreamSettings:
    """Settings under which a dead worker is missed after two seconds, and whose topics exist."""
    asyncio.run(ensure_topics(settings))
    return replace(settings, session_timeout_seconds=2.0)


@pytest.fixture
def life(engine: Engine, brief: StreamSettings) -> Life:
    return Life(engine, brief)
