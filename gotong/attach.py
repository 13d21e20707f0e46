"""Attach: how one command finds its database, broker and keys, whether or not a house runs beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from gotong.run_file import read_run_file
from gotong.settings import SettingError, Settings, load_master_keys
from gotong.up import DEMO_VARIABLE, LOG_ID_VARIABLE, StartError

if TYPE_CHECKING:
    from portal.app import PortalSettings
    from streams.settings import StreamSettings
    from workflow.context import IntakeContext


@contextmanager
def open_database(settings: Settings, *, create: bool = False) -> Iterator[Engine]:
    """The engine of this house's database.

    Embedded: the running server's, else one started for this block. ``create`` makes a database where there
    is none yet. Raises ``StartError`` when there is nothing to open or the schema is not current,
    ``SettingError`` when a house runs here on a database this command was not told of.
    """
    from models.database import open_engine
    from models.migrate import migrate, pending_revision
    from workflow.load_regions import load_regions

    with _database_url(settings, create=create) as url:
        if settings.embedded_database:
            migrate(url)
        elif pending_revision(url) is not None:
            raise StartError("the database's schema is not current; run: gotong migrate")
        engine = open_engine(url, pool_size=2, application_name="gotong-cli")
        try:
            if settings.embedded_database and create:
                load_regions(engine, settings.regencies)
            yield engine
        finally:
            engine.dispose()


@contextmanager
def _database_url(settings: Settings, *, create: bool) -> Iterator[str]:
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    from gotong.postgres import PostgresError, open_postgres

    running = read_run_file(settings.data_dir)
    if running is not None and not running.embedded_database:
        raise SettingError(
            f"GOTONG_DATABASE_URL: gotong {running.command} (process {running.pid}) runs here on a database"
            " of its own; set the same for this command"
        )
    folder = settings.data_dir / "postgres"
    if not create and not (folder / "data" / "PG_VERSION").exists():
        raise StartError(f"there is no data in {settings.data_dir} yet; start with: gotong demo")
    try:
        with open_postgres(folder) as url:
            yield url
    except PostgresError as error:
        raise StartError(str(error)) from None


def migrate_database(settings: Settings) -> int:
    """Bring the schema and the regions up to date; return how many region rows changed."""
    from models.database import open_engine
    from models.migrate import migrate
    from workflow.load_regions import load_regions

    with _database_url(settings, create=True) as url:
        migrate(url)
        engine = open_engine(url, pool_size=1, application_name="gotong-migrate")
        try:
            return load_regions(engine, settings.regencies)
        finally:
            engine.dispose()


def open_context(settings: Settings) -> IntakeContext:
    """What intake needs: the regions and the keys. Raises ``SettingError``."""
    from models.region import RegionTable
    from models.vault import Vault
    from workflow.context import IntakeContext

    newest, *retired = load_master_keys(settings)
    return IntakeContext(regions=RegionTable.load(), vault=Vault(newest, retired_keys=retired))


def stream_settings(settings: Settings) -> StreamSettings:
    """What a stream worker needs. Raises ``SettingError``: among others without brokers of its own, since the
    embedded broker serves only the worker of the house it belongs to (docs/decisions/0002-embedded-parts.md).
    """
    from streams.settings import StreamSettings

    newest, *retired = load_master_keys(settings)
    log_id = os.environ.get(LOG_ID_VARIABLE, "")
    if settings.kafka_brokers is None:
        raise SettingError(
            "GOTONG_KAFKA_BROKERS: required for a worker of its own; without brokers use: gotong up"
        )
    return StreamSettings(
        database_url=_running_url(settings),
        kafka_brokers=settings.kafka_brokers,
        master_key=newest,
        retired_keys=tuple(retired),
        log_id=log_id,
        forgetful_broker=bool(log_id),
        log_level=settings.log_level,
        intake_pause_share=settings.intake_pause_share,
        intake_pause_events=settings.intake_pause_events,
        settle_seconds=settings.settle_seconds,
        shortest_interval_seconds=settings.shortest_interval_seconds,
        longest_wait_seconds=settings.longest_wait_seconds,
        solver_time_limit_seconds=settings.solve_seconds,
        portal_url=settings.portal_url or f"http://{settings.host}:{settings.port}",
        mail_url=settings.mail_url.get_secret_value() if settings.mail_url else None,
        webhook_networks=settings.webhook_networks,
        metrics_host=settings.host,
        metrics_port=settings.worker_metrics_port,
    )


def portal_settings(settings: Settings) -> PortalSettings:
    """What the portal needs. Raises ``SettingError``."""
    from portal.accounts.oidc import OidcSettings
    from portal.app import PortalSettings

    url = _running_url(settings)
    oidc = None
    if settings.oidc_issuer or settings.oidc_client_id or settings.oidc_client_secret:
        if not (settings.oidc_issuer and settings.oidc_client_id and settings.oidc_client_secret):
            raise SettingError(
                "GOTONG_OIDC_ISSUER, GOTONG_OIDC_CLIENT_ID and GOTONG_OIDC_CLIENT_SECRET belong together"
            )
        secret = settings.oidc_client_secret.get_secret_value()
        oidc = OidcSettings(settings.oidc_issuer, settings.oidc_client_id, secret)
    return PortalSettings(
        url,
        settings.regencies,
        settings.language,
        demo=os.environ.get(DEMO_VARIABLE) == "1",
        master_keys=tuple(load_master_keys(settings)),
        oidc=oidc,
        webhook_networks=settings.webhook_networks,
        metrics_networks=settings.metrics_networks,
        has_mail=settings.mail_url is not None,
    )


def _running_url(settings: Settings) -> str:
    """The database of a long-running process, which does not start an embedded server by itself."""
    from gotong.postgres import find_running_url

    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    url = find_running_url(settings.data_dir / "postgres")
    if url is None:
        raise SettingError(
            "GOTONG_DATABASE_URL: required, since no embedded PostgreSQL runs here; without it use: gotong up"
        )
    return url
