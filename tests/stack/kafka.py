"""Apache Kafka on this machine, without Docker: jars by Maven, one KRaft node on loopback.

Usable outside pytest too (`python -m tests.stack`, benchmarks).
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self
from xml.etree import ElementTree

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from gotong.watch import watched

_POM = Path(__file__).with_name("pom.xml")
_JAVA_VERSION_MIN = 17
_START_TIMEOUT_SECONDS = 120.0
_STOP_TIMEOUT_SECONDS = 20.0
_FETCH_TIMEOUT_SECONDS = 600.0
_CLUSTER_ID = "R290b25nLXRlc3QtY2x1cw"  # Any 16 bytes in base64.

_SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=BROKER://127.0.0.1:{port}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
log.dirs={folder}/data
num.partitions=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=400
log.segment.delete.delay.ms=0
"""


class KafkaUnavailableError(RuntimeError):
    """Apache Kafka cannot run here; the message says what is missing."""


def kafka_version() -> str:
    """The version that pom.xml names."""
    version = ElementTree.parse(_POM).findtext(".//{*}kafka.version")
    if version is None:
        raise ValueError(f"{_POM} names no kafka.version")
    return version


def cache_folder() -> Path:
    """Where jars are kept between runs, outside the tree; GOTONG_TEST_CACHE_DIR overrides."""
    default = Path.home() / ".cache" / "gotong"
    return Path(os.environ.get("GOTONG_TEST_CACHE_DIR") or default)


@cache
def fetch_kafka() -> Path:
    """The folder with Kafka's jars, fetched by Maven when it is not there yet.

    Raises KafkaUnavailableError when Java or Maven is missing or the download fails.
    """
    _check_java()
    folder = cache_folder() / f"kafka-{kafka_version()}"
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailableError("Maven (mvn) is not installed, so Kafka's jars cannot be fetched")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():  # Another run fetched it while we waited.
            return folder
        fresh = Path(tempfile.mkdtemp(prefix="kafka-new-", dir=folder.parent))
        command = [maven, "--quiet", "--batch-mode", f"--file={_POM}", "dependency:copy-dependencies"]
        try:
            done = subprocess.run(
                [*command, "-DincludeScope=runtime", f"-DoutputDirectory={fresh}"],
                capture_output=True,
                text=True,
                timeout=_FETCH_TIMEOUT_SECONDS,
                check=False,
            )
            if done.returncode != 0:
                errors = [line for line in done.stdout.splitlines() if "ERROR" in line]
                raise KafkaUnavailableError(
                    f"Maven cannot fetch Kafka: {errors[0] if errors else done.stderr}"
                )
            fresh.rename(folder)
        except subprocess.TimeoutExpired as error:
            raise KafkaUnavailableError("Maven did not fetch Kafka in time") from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return folder


class NativeKafka:
    """One Apache Kafka node, from `start` to `stop`. Its log is kept over `kill` and `restart`.

    `properties` override the server properties above, save for addresses and folders.
    """

    def __init__(self, folder: Path | None = None, *, properties: Mapping[str, str] | None = None) -> None:
        self._given_folder = folder
        self._properties = dict(properties or {})
        self._folder: Path | None = None
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """`127.0.0.1:PORT`; the port stays the same over restarts."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> str:
        """Format a new log and start; return the bootstrap servers once the node answers."""
        jars = fetch_kafka()
        self._folder = self._given_folder or Path(tempfile.mkdtemp(prefix="gotong-kafka-"))
        self._folder.mkdir(parents=True, exist_ok=True)
        self._port, controller_port = _free_ports(2)
        properties = self._folder / "server.properties"
        # Of a name given twice, the later one counts.
        overrides = "".join(f"{name}={value}\n" for name, value in self._properties.items())
        properties.write_text(
            _SERVER_PROPERTIES.format(folder=self._folder, port=self._port, controller_port=controller_port)
            + overrides
        )
        formatter = [
            "kafka.tools.StorageTool",
            "format",
            f"--config={properties}",
            f"--cluster-id={_CLUSTER_ID}",
        ]
        done = subprocess.run(_java(jars, "128m", *formatter), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise KafkaUnavailableError(f"Kafka's storage cannot be prepared:\n{done.stdout}{done.stderr}")
        self.restart()
        return self.bootstrap_servers

    def restart(self) -> None:
        """Start again on the same port and log: after `kill`, or while running, then with an orderly stop."""
        if self._folder is None:
            raise KafkaUnavailableError("start Kafka before restarting it")
        self._end(signal.SIGTERM)
        server = _java(fetch_kafka(), "512m", "kafka.Kafka", str(self._folder / "server.properties"))
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                watched(server, stop_signal=signal.SIGTERM),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._await_ready()

    def kill(self) -> None:
        """SIGKILL: what a machine that loses power does to it. `restart` brings it back."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop and remove the log. Harmless when repeated."""
        self._end(signal.SIGTERM)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            # The group holds the watcher and the server; an orderly stop goes through the watcher alone.
            if how is signal.SIGKILL:
                os.killpg(self._process.pid, how)
            else:
                self._process.send_signal(how)
        try:
            self._process.wait(_STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        # The watcher is gone; a killed server may still be on its way out and hold its port.
        with suppress(ProcessLookupError):
            while True:
                os.killpg(self._process.pid, 0)
                time.sleep(0.01)
        self._process = None

    def _await_ready(self) -> None:
        assert self._process is not None
        assert self._folder is not None
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        client = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(KafkaException):
                if client.list_topics(timeout=1).brokers:
                    return
        log = (self._folder / "server.log").read_text(errors="replace").splitlines()
        self._end(signal.SIGKILL)
        raise KafkaUnavailableError("Kafka does not start:\n" + "\n".join(log[-20:]))


def delete_topics(bootstrap_servers: str) -> None:
    """Delete every topic of a cluster but Kafka's own, and wait until they are gone."""
    client = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    deadline = time.monotonic() + 30
    while names := [name for name in client.list_topics(timeout=10).topics if not name.startswith("__")]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"Kafka does not delete {', '.join(names)}")
        for future in client.delete_topics(names).values():
            with suppress(KafkaException):  # Already being deleted.
                future.result(10)


def _java(jars: Path, heap: str, *arguments: str) -> list[str]:
    options = [f"-Xmx{heap}", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    return ["java", *options, "-cp", f"{jars}/*", *arguments]


def _check_java() -> None:
    if shutil.which("java") is None:
        raise KafkaUnavailableError("Java is not installed")
    told = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    match = re.search(r'version "(\d+)', told)
    if match is None or int(match[1]) < _JAVA_VERSION_MIN:
        raise KafkaUnavailableError(
            f"Java {_JAVA_VERSION_MIN} or later is needed; here is: {told.splitlines()[0]}"
        )


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; all held until all are known, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()
