"""docker-compose.yml without Docker: its schema, and each service's command, environment and health check.

The commands run on this machine; only host names, ports and the password are replaced.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from sqlalchemy import make_url

from gotong.postgres import EmbeddedPostgres, binaries_folder
from gotong.up import listen
from tests.stack.kafka import NativeKafka, kafka_version
from tests.stack.postgres import open_tcp_postgres

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "tests" / "stack" / "compose-spec.json"
SECRETS = {
    "POSTGRES_PASSWORD": secrets.token_hex(8),
    "GOTONG_MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
}
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<how>[-?])(?P<text>[^}]*))?\}")


def read_compose(environment: Mapping[str, str]) -> dict[str, Any]:
    """The file as Compose reads it: variables filled in, `${NAME:?…}` demanded."""

    def fill(match: re.Match[str]) -> str:
        value = environment.get(match["name"], "")
        if not value and match["how"] == "?":
            raise KeyError(match["name"])
        return value or (match["text"] or "" if match["how"] == "-" else "")

    text = (ROOT / "docker-compose.yml").read_text()
    content = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    loaded = yaml.safe_load(_VARIABLE.sub(fill, content))
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return read_compose(SECRETS)


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    found = compose["services"]
    assert isinstance(found, dict)
    return found


def test_file_follows_the_compose_specification(compose: dict[str, Any]) -> None:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator(schema).validate(compose)


def test_schema_refuses_a_misspelt_key(compose: dict[str, Any]) -> None:
    schema = json.loads(SCHEMA.read_text())
    wrong = {
        **compose,
        "services": {**compose["services"], "portal": {"image": "gotong", "comand": ["gotong"]}},
    }
    with pytest.raises(jsonschema.ValidationError, match="comand"):
        jsonschema.Draft202012Validator(schema).validate(wrong)


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_each_secret_is_demanded_and_none_is_in_the_file(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        read_compose({key: value for key, value in SECRETS.items() if key != name})


def test_services_start_in_order_on_healthy_parts(services: dict[str, Any]) -> None:
    healthy, done = {"condition": "service_healthy"}, {"condition": "service_completed_successfully"}
    assert services["migrate"]["depends_on"] == {"postgres": healthy}
    assert services["worker"]["depends_on"] == {"migrate": done, "kafka": healthy, "postgres": healthy}
    assert services["portal"]["depends_on"] == {"migrate": done, "postgres": healthy}
    unchecked = [name for name, service in services.items() if "healthcheck" not in service]
    assert unchecked == ["migrate"], "every service that stays is checked"


def test_state_is_on_named_volumes(compose: dict[str, Any]) -> None:
    mounted = {
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
    }
    assert mounted == set(compose["volumes"]) == {"kafka-data", "postgres-data"}


def test_tests_run_on_the_kafka_and_postgresql_that_compose_names(services: dict[str, Any]) -> None:
    assert services["kafka"]["image"] == f"apache/kafka:{kafka_version()}"
    assert services["postgres"]["image"] == f"postgres:{EmbeddedPostgres.version().split('.')[0]}"


def test_published_ports_are_on_loopback_only(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


class NativeCompose:
    """The services of the file as processes of this machine."""

    def __init__(self, services: dict[str, Any], *, brokers: str, database_url: str, folder: Path) -> None:
        self.services = services
        self._folder = folder
        with listen("127.0.0.1", 0, search=False) as free:
            portal_port = str(free.getsockname()[1])
        database = make_url(database_url)
        self._replaced = {
            "@postgres:5432": f"@{database.host}:{database.port}",
            "127.0.0.1:6402": f"127.0.0.1:{portal_port}",
            "kafka:9092": brokers,
            "0.0.0.0": "127.0.0.1",  # noqa: S104 - what stands in the file
            "6402": portal_port,
            "--host=127.0.0.1": f"--host={database.host}",
            "--port=5432": f"--port={database.port}",
        }

    def environment(self, name: str) -> dict[str, str]:
        """What the container would see, and of this machine only the path."""
        own = {
            key: self._here(str(value)) for key, value in self.services[name].get("environment", {}).items()
        }
        data_folder = self._folder / name  # The image sets GOTONG_DATA_DIR to a folder of the container.
        return {
            "PATH": os.environ["PATH"],
            "GOTONG_DATA_DIR": str(data_folder),
            "PYTHONWARNINGS": "ignore",
            **own,
        }

    def command(self, name: str) -> list[str]:
        """The service's command."""
        return self._program(self.services[name]["command"])

    def check(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run the service's health check once."""
        healthcheck = self.services[name]["healthcheck"]
        kind, *command = healthcheck["test"]
        assert kind == "CMD"
        return subprocess.run(
            self._program(command),
            env=self.environment(name),
            cwd=self._folder,
            timeout=float(healthcheck["timeout"].removesuffix("s")),
            capture_output=True,
            text=True,
            check=False,
        )

    def await_healthy(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Check again and again, as long as Compose would."""
        healthcheck = self.services[name]["healthcheck"]
        patience = float(healthcheck["start_period"].removesuffix("s"))
        deadline = time.monotonic() + patience
        while (checked := self.check(name)).returncode != 0:
            assert process.poll() is None, f"{name} ended with {process.returncode}: {self.log(name)}"
            assert time.monotonic() < deadline, f"{name}: {checked.stderr}\n{self.log(name)}"
            time.sleep(0.2)

    def await_unhealthy(self, name: str, reason: str, patience_seconds: float = 60.0) -> None:
        """Check again and again until the health check fails, for this reason."""
        deadline = time.monotonic() + patience_seconds
        while reason not in (checked := self.check(name)).stderr:
            assert time.monotonic() < deadline, f"{name} is still healthy: {checked}"
            time.sleep(0.5)

    @contextmanager
    def running(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """The service's process; at the end it must stop in order within its grace period."""
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                self.command(name), env=self.environment(name), cwd=self._folder, stdout=log, stderr=log
            )
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            grace_seconds = float(self.services[name]["stop_grace_period"].removesuffix("s"))
            # uvicorn closes in order and then ends itself by the signal it was sent.
            assert process.wait(grace_seconds) in (0, -signal.SIGTERM), self.log(name)
        finally:
            process.kill()
            process.wait()

    def log(self, name: str) -> str:
        """The last lines of what the service wrote."""
        return "\n".join((self._folder / f"{name}.log").read_text().splitlines()[-15:])

    def _program(self, command: list[str]) -> list[str]:
        program, *arguments = command
        # What the image has on its PATH, here taken from the environment that runs the tests.
        programs = {
            "gotong": [str(Path(sys.executable).with_name("gotong"))],
            "python": [sys.executable],
            "pg_isready": [str(binaries_folder() / "pg_isready")],
        }
        return [*programs[program], *map(self._here, arguments)]

    def _here(self, text: str) -> str:
        for there, here in self._replaced.items():
            if there in text:
                return text.replace(there, here)
        return text


@pytest.fixture(scope="module")
def native(services: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeCompose]:
    """The file's Kafka settings on a native Kafka, and a PostgreSQL that listens on TCP with its password."""
    not_here = ("LISTENERS", "QUORUM_VOTERS", "LOG_DIRS", "LISTENER_NAME", "LISTENER_SECURITY")
    properties = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): str(value)
        for name, value in services["kafka"]["environment"].items()
        if not any(part in name for part in not_here)
    }
    assert properties["auto.create.topics.enable"] == "false"
    folder = tmp_path_factory.mktemp("compose")
    with (
        NativeKafka(properties=properties) as kafka,
        open_tcp_postgres(folder / "postgres", password=SECRETS["POSTGRES_PASSWORD"]) as database_url,
    ):
        yield NativeCompose(
            services, brokers=kafka.bootstrap_servers, database_url=database_url, folder=folder
        )


@pytest.mark.kafka
def test_postgres_health_check_passes_on_the_running_server(native: NativeCompose) -> None:
    assert native.check("postgres").returncode == 0


@pytest.mark.kafka
def test_services_run_with_their_very_commands_and_report_healthy(native: NativeCompose) -> None:
    assert native.check("worker").returncode == 1, "a check that passes without a worker checks nothing"
    assert "Connection refused" in native.check("portal").stderr

    for _ in range(2):  # A repeated one-shot is harmless.
        migrated = subprocess.run(
            native.command("migrate"),
            env=native.environment("migrate"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert migrated.returncode == 0, migrated.stderr

    assert native.services["worker"]["deploy"]["replicas"] == 2
    with (
        native.running("worker") as first,
        native.running("worker") as second,
        native.running("portal") as portal,
    ):
        native.await_healthy("worker", first)
        native.await_healthy("worker", second)
        native.await_healthy("portal", portal)
    # A worker that stops while the group is being shared out anew is missed only when its session ends.
    native.await_unhealthy("worker", "no worker of this machine")
