"""Settings: environment variables named GOTONG_*, checked once, before anything starts.

Nothing is required. Without GOTONG_DATABASE_URL and GOTONG_KAFKA_BROKERS the embedded parts run in the
data folder. A wrong value is one line that names the setting; a misspelt name is wrong too, since it would
otherwise be silently ignored.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX: Final = "GOTONG_"
#: Names with these beginnings belong to the tests and to the supervisor, not to a person.
_OTHER_PREFIXES: Final = ("GOTONG_TEST_", "GOTONG_BENCH_", "GOTONG_INTERNAL_", "GOTONG_FAIL")
_MAKE_KEY = "make one with: openssl rand -hex 32"
LOCAL_KEY_FILE: Final = "master.key"
_HEX_KEY = re.compile("[0-9A-Fa-f]{64}")
_BROKER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")


class SettingError(ValueError):
    """One or more settings are wrong; each line of the message names one and never shows a secret."""


class Settings(BaseSettings):
    """Everything a person can set. See README for the table; defaults run the whole house on one machine."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", validate_default=True)

    database_url: SecretStr | None = Field(None, description="PostgreSQL; unset: embedded")
    kafka_brokers: str | None = Field(None, description="host:port,host:port; unset: embedded")
    data_dir: Path = Field(Path(".gotong"), description="folder of the embedded parts, logs and local key")
    master_key: SecretStr | None = Field(
        None, description="keys of 32 bytes, hex or base64, newest first, comma-separated"
    )
    master_key_file: Path | None = Field(None, description="file that holds what GOTONG_MASTER_KEY would")
    regencies: Annotated[tuple[str, ...], NoDecode] = Field(("64.02",), description="codes, comma-separated")
    host: str = Field("127.0.0.1", min_length=1, description="address the portal listens on")
    port: int = Field(6402, ge=1, le=65535, description="port of the portal")
    language: Literal["id", "en"] = Field("id", description="language of the portal for a first visit")
    workers: int = Field(1, ge=1, le=64, description="stream worker processes of gotong up")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="of worker and portal"
    )
    intake_pause_share: float = Field(
        0.5, gt=0, le=1, description="of a topic's last events refused, above which its intake pauses"
    )
    intake_pause_events: int = Field(200, ge=10, le=100_000, description="so many last events")
    oidc_issuer: str | None = Field(
        None, description="identity provider for signing in, e.g. https://id.example.go.id"
    )
    oidc_client_id: str | None = Field(None, description="the portal's name there")
    oidc_client_secret: SecretStr | None = Field(None, description="the portal's secret there")
    portal_url: str | None = Field(None, description="the portal's address as people reach it, for links")
    mail_url: SecretStr | None = Field(
        None,
        description="mail server, e.g. mailtos://user:password@smtp.example.go.id?from=gotong@example.go.id",
    )
    webhook_networks: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="internal networks that webhooks may reach, e.g. 10.1.0.0/16; none by itself"
    )
    metrics_networks: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="networks that read the portal's /metrics without a key, e.g. 10.2.0.0/24"
    )
    worker_metrics_port: int | None = Field(
        None, ge=1, le=65535, description="port of the first worker's metrics, on GOTONG_HOST; unset: none"
    )
    settle_seconds: float = Field(0.2, ge=0, le=60, description="quiet time before a match is requested")
    shortest_interval_seconds: float = Field(0.5, ge=0, le=86_400, description="between two matches")
    longest_wait_seconds: float = Field(0.8, ge=0.1, le=86_400, description="of a change for a match")
    solve_seconds: float = Field(20.0, ge=0.5, le=86_400, description="time limit of one match")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what ``load_settings`` passes: one way in, the same in tests and in life."""
        return (init_settings,)

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError

        expected = "expected postgresql://user:password@host:5432/database"
        try:
            url = make_url(value.get_secret_value())
        except (ArgumentError, ValueError):
            raise ValueError(f"not a database URL; {expected}") from None
        if url.get_backend_name() not in {"postgresql", "postgres"}:
            raise ValueError(f"Gotong runs on PostgreSQL only, not on {url.get_backend_name()}; {expected}")
        if not url.database:
            raise ValueError(f"names no database; {expected}")
        return value

    @field_validator("kafka_brokers")
    @classmethod
    def _is_broker_list(cls, value: str | None) -> str | None:
        if value is None:
            return None
        brokers = [part.strip().removeprefix("kafka://") for part in re.split("[,;]", value) if part.strip()]
        for broker in brokers:
            match = _BROKER.fullmatch(broker)
            if match is None or not 1 <= int(match[2]) <= 65535:
                raise ValueError(f"{broker!r} is not host:port; expected e.g. kafka-1:9092,kafka-2:9092")
        if not brokers:
            raise ValueError("is empty; expected e.g. kafka-1:9092,kafka-2:9092")
        return ",".join(brokers)

    @field_validator("oidc_issuer")
    @classmethod
    def _is_issuer(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
        if parts.scheme != "https" and not (parts.scheme == "http" and local):
            raise ValueError("is not an https address")
        if not parts.hostname or parts.query or parts.fragment or parts.username:
            raise ValueError("is not the address of an identity provider")
        return value

    @field_validator("portal_url")
    @classmethod
    def _is_portal(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("is not a web address; expected e.g. https://gotong.example.go.id")
        return value.rstrip("/")

    @field_validator("mail_url")
    @classmethod
    def _is_mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            from workflow.deliver_message import ServiceRefusedError, check_mail_server

            try:
                check_mail_server(value.get_secret_value())
            except ServiceRefusedError:
                raise ValueError(
                    "is no mail server; expected e.g. mailtos://user:password@smtp.example.go.id?from=a@b.example"
                ) from None
        return value

    @field_validator("webhook_networks", "metrics_networks", mode="before")
    @classmethod
    def _split_networks(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("webhook_networks", "metrics_networks")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            try:
                ipaddress.ip_network(network)
            except ValueError:
                raise ValueError(f"{network!r} is no network; expected e.g. 10.1.0.0/16") from None
        return value

    @field_validator("data_dir")
    @classmethod
    def _is_folder(cls, value: Path) -> Path:
        folder = value.expanduser().absolute()
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} is not a folder")
        return folder

    @field_validator("master_key")
    @classmethod
    def _is_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_master_keys(value.get_secret_value())
        return value

    @field_validator("master_key_file")
    @classmethod
    def _is_key_file(cls, value: Path | None) -> Path | None:
        if value is not None:
            _read_key_file(value)
        return value

    @field_validator("regencies", mode="before")
    @classmethod
    def _split_regencies(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("regencies")
    @classmethod
    def _are_known_regencies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        from workflow.load_regions import known_regencies

        known = known_regencies()
        for code in value:
            if code not in known:
                raise ValueError(f"{code!r} is no regency of the region table; known: {', '.join(known)}")
        if not value:
            raise ValueError("is empty; expected e.g. 64.02")
        return value

    @property
    def embedded_database(self) -> bool:
        """Whether Gotong brings its own PostgreSQL."""
        return self.database_url is None

    @property
    def embedded_broker(self) -> bool:
        """Whether Gotong brings its own Kafka cluster."""
        return self.kafka_brokers is None

    @property
    def logs_dir(self) -> Path:
        """Where the child processes' logs go."""
        return self.data_dir / "logs"


def load_settings(environment: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Settings from the environment; ``overrides`` (options of a command) win, ``None`` among them is
    ignored.

    An empty variable counts as unset, as Compose files write it. Raises ``SettingError``.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in environment.items():
        if not name.startswith(PREFIX) or name.startswith(_OTHER_PREFIXES) or not value.strip():
            continue
        field = name.removeprefix(PREFIX).lower()
        if name == PREFIX + field.upper() and field in Settings.model_fields:
            values[field] = value.strip()
        else:
            problems.append(f"{name}: no such setting{_suggest(name)}")
    values.update({field: value for field, value in overrides.items() if value is not None})
    if problems:
        raise SettingError("\n".join(sorted(problems)))
    try:
        return Settings(**values)
    except ValidationError as error:
        lines = [_describe(detail, values) for detail in error.errors(include_url=False)]
        raise SettingError("\n".join(lines)) from None


def load_master_keys(settings: Settings, *, local_key_allowed: bool | None = None) -> list[bytes]:
    """The keys of 32 bytes under which NIKs are encrypted and hashed, newest first.

    GOTONG_MASTER_KEY, else GOTONG_MASTER_KEY_FILE, else a key file of the data folder, made at first use
    with permissions 0600. The last is for the embedded database (whose data lies beside it anyway) and for
    the demo; a database of your own demands that you keep the key yourself. Raises ``SettingError``.
    """
    if settings.master_key is not None:
        return parse_master_keys(settings.master_key.get_secret_value())
    if settings.master_key_file is not None:
        return _read_key_file(settings.master_key_file)
    if local_key_allowed is None:
        local_key_allowed = settings.embedded_database
    if not local_key_allowed:
        raise SettingError(f"GOTONG_MASTER_KEY: required with GOTONG_DATABASE_URL; {_MAKE_KEY}")
    make_folder(settings.data_dir)
    path = settings.data_dir / LOCAL_KEY_FILE
    try:
        _make_key_file(path)
        return _read_key_file(path)
    except OSError as error:
        raise SettingError(f"GOTONG_DATA_DIR: {path} cannot be written: {error.strerror}") from None
    except ValueError as error:
        raise SettingError(f"GOTONG_DATA_DIR: {error}") from None


def parse_master_keys(text: str) -> list[bytes]:
    """Keys from base64 or 64 hex digits, newest first; the ``ValueError`` never repeats the text."""
    from models.vault import decode_master_keys

    try:
        keys = [
            bytes.fromhex(part) if _HEX_KEY.fullmatch(part) else decode_master_keys(part)[0]
            for part in (each.strip() for each in text.split(","))
        ]
    except ValueError as error:
        raise ValueError(f"{error}; {_MAKE_KEY}") from None
    if any(len(set(key)) < 8 for key in keys):
        raise ValueError(f"is not random; {_MAKE_KEY}")
    return keys


def _make_key_file(path: Path) -> None:
    """Make a key file unless there is one; two processes at once end up with the same one."""
    from models.vault import make_master_key

    if path.exists():
        return
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(make_master_key() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(fresh, path)  # appears whole or not at all, and never over another
    except FileExistsError:
        pass
    finally:
        fresh.unlink()


def make_folder(folder: Path) -> None:
    """Create the data folder. It must be a folder we can write, or it is a wrong setting."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"GOTONG_DATA_DIR: {folder} cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SettingError(f"GOTONG_DATA_DIR: {folder} cannot be written by this user")


def _read_key_file(path: Path) -> list[bytes]:
    try:
        text = path.expanduser().read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return parse_master_keys(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _suggest(name: str) -> str:
    known = [PREFIX + field.upper() for field in Settings.model_fields]
    close = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"


def _describe(detail: Any, values: Mapping[str, Any]) -> str:
    """``GOTONG_PORT: '99999' …`` without a secret's value."""
    field = str(detail["loc"][0])
    own_words = detail["type"] == "value_error"
    message = str(detail["ctx"]["error"]) if own_words else detail["msg"][:1].lower() + detail["msg"][1:]
    secret = "SecretStr" in str(Settings.model_fields[field].annotation)
    shown = "" if own_words or secret or field not in values else f" (it is {str(values[field])[:80]!r})"
    return " ".join(f"{PREFIX}{field.upper()}: {message}{shown}".split())
