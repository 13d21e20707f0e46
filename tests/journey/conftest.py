"""A house per test; whatever a failed test leaves running is ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.journey.house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A folder in which nothing was started yet."""
    house = House(tmp_path)
    yield house
    for process in house.processes():
        with suppress(psutil.Error):
            process.kill()
