"""What every test may ask for: a broker, a database, and a header that says which ones they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gotong.broker import EmbeddedBroker
from gotong.postgres import EmbeddedPostgres
from tests.stack.choice import BrokerKind, choose_broker, describe_postgres
from tests.stack.kafka import KafkaUnavailableError, NativeKafka, delete_topics, fetch_kafka
from tests.stack.postgres import TEST_SETTINGS, DatabaseServer


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a continuous-integration run that would not use Apache Kafka."""
    if os.environ.get("CI") == "true" and not choose_broker().is_apache_kafka:
        raise pytest.UsageError(f"CI needs Apache Kafka, but the broker is: {choose_broker().described_as}")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """State the real parts of this run."""
    return [f"broker: {choose_broker().described_as}", f"database: {describe_postgres()}"]


@pytest.fixture(scope="session")
def _kafka_session() -> Iterator[str | None]:
    """Bootstrap servers of the broker that all tests share; None where each test gets an embedded one."""
    match choose_broker().kind:
        case BrokerKind.GIVEN:
            yield os.environ["GOTONG_TEST_KAFKA"]
        case BrokerKind.NATIVE:
            with NativeKafka() as broker:
                yield broker.bootstrap_servers
        case BrokerKind.EMBEDDED:
            yield None


@pytest.fixture
def kafka(_kafka_session: str | None) -> Iterator[str]:
    """Bootstrap servers of a broker that holds no topics."""
    if _kafka_session is None:
        with EmbeddedBroker() as broker:
            yield broker.start()
    else:
        delete_topics(_kafka_session)
        yield _kafka_session


@pytest.fixture
def own_kafka() -> Iterator[NativeKafka]:
    """An Apache Kafka of the test's own, to kill and restart."""
    _skip_without_apache_kafka()
    with NativeKafka() as broker:
        yield broker


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked `kafka` start an Apache Kafka of their own; without Java they are skipped, never in CI."""
    if item.get_closest_marker("kafka"):
        _skip_without_apache_kafka()


def _skip_without_apache_kafka() -> None:
    try:
        fetch_kafka()
    except KafkaUnavailableError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"needs Apache Kafka: {error}")


@pytest.fixture(scope="session")
def database_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """The PostgreSQL of this run."""
    given = os.environ.get("GOTONG_TEST_DATABASE_URL")
    if given:
        yield DatabaseServer(given)
        return
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), settings=TEST_SETTINGS) as server:
        yield DatabaseServer(server.url())


@pytest.fixture(scope="session")
def _migrated_template(database_server: DatabaseServer) -> Iterator[str]:
    """Name of a database with the current schema, which copies are made from."""
    from sqlalchemy import make_url

    from models.migrate import migrate

    url = database_server.create()
    migrate(url)
    yield make_url(url).database or ""
    database_server.drop(url)


@pytest.fixture
def empty_database_url(database_server: DatabaseServer) -> Iterator[str]:
    """SQLAlchemy URL of a database without tables."""
    url = database_server.create()
    yield url
    database_server.drop(url)


@pytest.fixture
def database_url(database_server: DatabaseServer, _migrated_template: str) -> Iterator[str]:
    """SQLAlchemy URL of a fresh database with the current schema."""
    url = database_server.create(template=_migrated_template)
    yield url
    database_server.drop(url)


@pytest.fixture(scope="module")
def module_database_url(database_server: DatabaseServer, _migrated_template: str) -> Iterator[str]:
    """As `database_url`, shared by the tests of one module."""
    url = database_server.create(template=_migrated_template)
    yield url
    database_server.drop(url)


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of the test's own, running, to kill and restart."""
    with EmbeddedPostgres(tmp_path / "postgres", settings=TEST_SETTINGS) as server:
        yield server


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as on a machine where nothing is configured."""
    for name in list(os.environ):
        if name.startswith("GOTONG_"):
            with suppress(KeyError):
                monkeypatch.delenv(name)
