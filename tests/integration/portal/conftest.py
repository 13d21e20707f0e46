"""A portal per module over a migrated database; every test makes its own people."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine

from models.database import open_engine
from portal.app import PortalSettings, create_portal
from tests.integration.portal.site import MASTER_KEY, Browser, serve
from workflow.load_regions import load_regions

_ADDRESSES = itertools.count(1)


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Iterator[Engine]:
    engine = open_engine(module_database_url)
    load_regions(engine, ["64.02"])
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def app(module_database_url: str, engine: Engine) -> FastAPI:
    settings = PortalSettings(
        module_database_url,
        ("64.02",),
        master_keys=(MASTER_KEY,),
        changes_per_minute=100_000,
        sign_ins_per_minute=100_000,
    )
    return create_portal(settings)


@pytest.fixture(scope="module")
def url(app: FastAPI) -> Iterator[str]:
    with serve(app) as url:
        yield url


@pytest.fixture
def new_browser(url: str) -> Callable[[], Browser]:
    """A browser at a network address that nobody had before."""

    def make() -> Browser:
        number = next(_ADDRESSES)
        return Browser(url, f"10.2.{number // 250}.{number % 250 + 1}")

    return make


@pytest.fixture
def browser(new_browser: Callable[[], Browser]) -> Browser:
    return new_browser()
