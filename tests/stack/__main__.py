"""`python -m tests.stack`: Apache Kafka and a PostgreSQL server on loopback, until Ctrl-C.

For trying Gotong against a real cluster and for benchmarks. Prints the two settings to export. Everything is
temporary. `python -m tests.stack fetch` only fetches Kafka's jars.
"""

from __future__ import annotations

import secrets
import signal
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from gotong.postgres import EmbeddedPostgres
from tests.stack.kafka import KafkaUnavailableError, NativeKafka, fetch_kafka, kafka_version
from tests.stack.postgres import open_tcp_postgres


def main() -> int:
    """Run the command line; returns its exit code."""
    if sys.argv[1:] == ["fetch"]:
        return _fetch()
    if sys.argv[1:]:
        print(__doc__, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack, suppress(KeyboardInterrupt):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gotong-stack-")))
        try:
            brokers = stack.enter_context(NativeKafka(folder / "kafka")).bootstrap_servers
        except KafkaUnavailableError as error:
            print(error, file=sys.stderr)
            return 1
        url = stack.enter_context(open_tcp_postgres(folder / "postgres", password=secrets.token_hex(8)))
        print(
            f"# Apache Kafka {kafka_version()} and PostgreSQL {EmbeddedPostgres.version()}; Ctrl-C stops them"
        )
        print(f"export GOTONG_KAFKA_BROKERS={brokers}")
        print(f"export GOTONG_DATABASE_URL={url}", flush=True)
        signal.pause()
    return 0


def _fetch() -> int:
    try:
        print(f"Apache Kafka {kafka_version()}: {fetch_kafka()}")
    except KafkaUnavailableError as error:
        print(f"Apache Kafka is not available: {error}; tests use the embedded broker", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
