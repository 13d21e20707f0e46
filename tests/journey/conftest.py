"""A house per test, and for the browser's tests one demo that all of them share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.journey.house import House, end
from tests.journey.visit import chromium


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A folder in which nothing was started yet."""
    house = House(tmp_path)
    yield house
    _kill(house)


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, str]]:
    """A demo of 300 workers that runs, and its address; what one test adds, the next one finds."""
    house = House(tmp_path_factory.mktemp("house"))
    process = house.start("demo", "--workers", "300")
    try:
        house.await_output("keeps serving until Ctrl-C", process, 240)
        yield house, house.status()["portal_url"]
    finally:
        end(process)
        _kill(house)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; ended with the module, for its event loop would stand in the way of others."""
    with sync_playwright() as playwright, chromium(playwright) as browser:
        yield browser


def _kill(house: House) -> None:
    """Whatever a failed test leaves running is ended."""
    for process in house.processes():
        with suppress(psutil.Error):
            process.kill()
