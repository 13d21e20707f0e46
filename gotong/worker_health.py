"""`python -m gotong.worker_health`: whether the stream worker on this machine does its work, for containers.

A worker has no port to ask. That it takes part shows at the broker: it is a member of its consumer group,
which it stays only as long as it keeps polling.
"""

from __future__ import annotations

import socket
import sys

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from gotong.attach import stream_settings
from gotong.settings import SettingError, load_settings

_TIMEOUT_SECONDS = 10.0


def main() -> int:
    """0 when a worker of this machine is a member of the group; else 1 with the reason on standard error."""
    try:
        settings = stream_settings(load_settings())
        if _has_member_here(settings.kafka_brokers, settings.consumer_group):
            return 0
        reason = f"no worker of this machine is a member of the consumer group {settings.consumer_group}"
    except SettingError as error:
        reason = str(error)
    except (KafkaException, OSError) as error:
        reason = f"Kafka does not answer: {error}"
    print(reason, file=sys.stderr)  # noqa: T201 - `docker inspect` shows it
    return 1


def _has_member_here(brokers: str, group: str) -> bool:
    # The broker names the address a member connects from: ours, when we ask from the same machine.
    host, _, port = brokers.split(",")[0].rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=_TIMEOUT_SECONDS) as connection:
        here = str(connection.getsockname()[0])
    client = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    asked = client.describe_consumer_groups([group], request_timeout=_TIMEOUT_SECONDS)
    members = asked[group].result(_TIMEOUT_SECONDS).members
    return any(member.host.removeprefix("/") == here for member in members)


if __name__ == "__main__":
    sys.exit(main())
