"""Backup and restore: PostgreSQL's own tools, told what Gotong's database needs.

A dump is of one moment and holds the intake's positions, so a worker started on a restored database goes
back in the broker's log to where that database stood (docs/decisions/0006-intake-pause.md).
"""

from __future__ import annotations

import datetime as dt
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Engine, text

from gotong.postgres import binaries_folder
from workflow.record import record_action

_OTHERS = text(
    """
    SELECT DISTINCT application_name FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND application_name IN ('gotong-worker', 'gotong-portal')
    """
)
# Row security holds for the owner too; his policies let him see every row, or pg_dump would leave some out.
_SEEN_IN_PART = text(
    """
    SELECT c.relname FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND row_security_active(c.oid)
      AND (NOT EXISTS (
               SELECT FROM pg_policy p
               WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd IN ('*', 'r')
                 AND pg_get_expr(p.polqual, p.polrelid) = 'true'
                 AND EXISTS (SELECT FROM unnest(p.polroles) AS r (role)
                             WHERE r.role = 0 OR pg_has_role(r.role, 'USAGE')))
           OR EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND NOT p.polpermissive))
    ORDER BY c.relname
    """
)
# Not --clean: tables that the dump does not know would stay, and hold on to those it does.
_EMPTY = b"DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC;\n"


class BackupError(RuntimeError):
    """It was not done, and nothing was changed; the message says why."""


def backup_database(engine: Engine, file: Path) -> None:
    """Write a dump (pg_dump's custom format) that only this user may read. Raises ``BackupError``."""
    if file.exists():
        raise BackupError(f"{file} exists already")
    with engine.connect() as connection:
        if hidden := connection.scalars(_SEEN_IN_PART).all():
            raise BackupError(
                f"{engine.url.username} sees only some rows of {', '.join(hidden)};"
                " back up as the tables' owner or with a role that has BYPASSRLS"
            )
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BackupError(f"{file} cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "wb") as out:
        command, environment = _tool(
            engine, "pg_dump", "--format=custom", "--no-owner", "--enable-row-security"
        )
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, env=environment, check=False)
    if done.returncode:
        file.unlink()
        raise BackupError(_last_line(done.stderr))


def restore_database(engine: Engine, file: Path, officer: str, now: dt.datetime) -> None:
    """Put the dump in place of everything in the schema ``public``, in one transaction, and record who did.

    The role that connects must own the database. Raises ``BackupError``, among others while a worker or
    portal is connected: it would go on from what it remembers of the newer database.
    """
    with engine.connect() as connection:
        if others := connection.scalars(_OTHERS).all():
            raise BackupError(f"stop the house first: {', '.join(others)} is connected")
    engine.dispose()
    script = subprocess.run(
        [str(binaries_folder() / "pg_restore"), "--file=-", "--no-owner", str(file)],
        capture_output=True,
        check=False,
    )
    if script.returncode:
        raise BackupError(_last_line(script.stderr))
    command, environment = _tool(
        engine, "psql", "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"
    )
    done = subprocess.run(
        command, input=_EMPTY + script.stdout, capture_output=True, env=environment, check=False
    )
    if done.returncode:
        raise BackupError(_last_line(done.stderr))
    with engine.begin() as connection:
        record_action(connection, officer, "restore", "database", {}, now)


def _tool(engine: Engine, name: str, *options: str) -> tuple[list[str], Mapping[str, str]]:
    """Command and environment; the password stands in neither the command nor a log."""
    url = engine.url.set(drivername="postgresql", password=None)
    environment = dict(os.environ) | ({"PGPASSWORD": engine.url.password} if engine.url.password else {})
    place = url.render_as_string(hide_password=False)
    return [str(binaries_folder() / name), *options, f"--dbname={place}"], environment


def _last_line(told: bytes) -> str:
    lines = [line for line in told.decode(errors="replace").splitlines() if line.strip()]
    return next((line for line in lines if "rror" in line), lines[-1] if lines else "no reason given")
