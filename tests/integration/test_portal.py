"""The first page over a real database: the figures of the report, safely and in two languages."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine, text

from gotong.up import listen
from models.database import open_engine
from portal.app import PortalSettings, create_portal
from tests.builders import KUKAR, add_need, apply_fund, pledge
from workflow.load_regions import load_regions


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    load_regions(engine, [KUKAR])
    yield engine
    engine.dispose()


@contextmanager
def serve(app: FastAPI) -> Iterator[httpx.Client]:
    """The application on a real port, and a client that keeps cookies."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    with listen("127.0.0.1", 20_000, search=True) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            with httpx.Client(
                base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", trust_env=False
            ) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()
            app.state.portal.engine.dispose()


@pytest.fixture
def portal(engine: Engine, database_url: str) -> FastAPI:
    return create_portal(PortalSettings(database_url, (KUKAR,), demo=True))


@pytest.fixture
def browser(portal: FastAPI) -> Iterator[httpx.Client]:
    with serve(portal) as client:
        yield client


def words(html: str) -> str:
    """The page's text alone, blanks made one."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).replace("\N{NO-BREAK SPACE}", " ").split())


def test_an_empty_house_says_so_in_indonesian(browser: httpx.Client) -> None:
    page = browser.get("/")
    assert page.status_code == 200
    assert '<html lang="id">' in page.text
    shown = words(page.text)
    assert "Kabupaten Kutai Kartanegara" in shown
    assert "Belum ada pekerja tanpa perlindungan yang dilaporkan." in shown
    assert "Belum ada pencocokan." in shown


def test_figures_are_those_of_the_database(browser: httpx.Client, engine: Engine) -> None:
    with engine.begin() as connection:
        for number in range(1_234):
            add_need(connection, number)
        connection.execute(text("UPDATE coverage_need SET state = 'proposed', version = 2 WHERE id <= 617"))
    apply_fund(engine, pledge("csr-1", 1_500_000_000, name="PT Contoh <Sawit> 1"))
    shown = words(browser.get("/").text)
    assert "Dana sudah dicadangkan untuk 617 dari 1.234 pekerja." in shown
    assert "Muara Badak 1.234 617 50 %" in shown
    assert "1.500.000.000 0 1.500.000.000" in shown
    english = words(browser.get("/?lang=en").text)
    assert "Money is reserved for 617 of 1,234 workers." in english
    assert "1,500,000,000" in english


def test_names_from_outside_are_text_not_markup(browser: httpx.Client, engine: Engine) -> None:
    apply_fund(engine, pledge("csr-1", name="<script>alert(1)</script>"))
    html = browser.get("/").text
    assert "<script>alert(1)" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_nothing_comes_from_elsewhere_and_nothing_is_inline(browser: httpx.Client) -> None:
    page = browser.get("/")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", page.text)
    assert not re.findall(r"\sstyle=|\son\w+=|<style|<script(?![^>]*src=)", page.text)
    for path in set(re.findall(r"(?:src|href)=\"(/static/[^\"]+)\"", page.text)):
        assert browser.get(path).status_code == 200, path


def test_the_language_is_remembered(browser: httpx.Client) -> None:
    browser.get("/?lang=en")
    assert '<html lang="en">' in browser.get("/").text
    assert '<html lang="id">' in browser.get("/?lang=id").text


def test_refreshing_sends_nothing_when_nothing_changed(
    browser: httpx.Client, portal: FastAPI, engine: Engine
) -> None:
    page = browser.get("/").text
    address = re.search(r'hx-get="([^"]+)"', page)
    assert address is not None
    refresh = address[1].replace("&amp;", "&")
    assert browser.get(refresh).status_code == 204
    apply_fund(engine, pledge("csr-1"))
    portal.state.portal.overviews._places.clear()  # figures are kept for half a second
    changed = browser.get(refresh)
    assert changed.status_code == 200
    assert "<html" not in changed.text
    assert "Komitmen csr-1" in changed.text


def test_only_the_largest_funds_are_listed_until_all_are_asked_for(
    browser: httpx.Client, engine: Engine
) -> None:
    for number in range(1, 15):
        apply_fund(engine, pledge(f"csr-{number:02d}", number * 1_000_000))
    page = browser.get("/").text
    assert "Komitmen csr-14" in page
    assert "Komitmen csr-02" not in page
    assert "14 dana" in page
    assert "105.000.000" in page
    assert "Komitmen csr-02" in browser.get("/?funds=all").text


def test_another_regency_is_not_found(browser: httpx.Client) -> None:
    page = browser.get("/?regency=64.72")
    assert page.status_code == 404
    assert "tidak menjalankan Gotong" in page.text


def test_every_table_has_a_caption_and_scopes(browser: httpx.Client) -> None:
    html = browser.get("/").text
    tables = re.findall(r"<table.*?</table>", html, re.DOTALL)
    assert len(tables) == 3
    for table in tables:
        assert "<caption" in table
        assert not re.findall(r"<th(?![^>]*scope=)[ >]", table)


def test_health_is_that_of_the_database(browser: httpx.Client, engine: Engine) -> None:
    assert browser.get("/healthz").json() == {"status": "ok"}
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    answer = browser.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["reason"] == "migration_pending"


def test_a_database_that_is_away_is_a_page_not_a_trace() -> None:
    app = create_portal(PortalSettings("postgresql://u:geheim@127.0.0.1:9/gotong", (KUKAR,), demo=True))
    with serve(app) as client:
        page = client.get("/")
        assert page.status_code == 503
        assert "Basis data tidak menjawab" in page.text
        assert "geheim" not in page.text
        assert client.get("/healthz").json()["reason"] == "database_unreachable"
