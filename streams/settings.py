"""What a stream worker needs to know, as one plain value; the front door builds it from the environment."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """Settings of one worker process.

    ``log_id`` tells one life of a broker that forgets on restart from the next; it is empty for a
    broker that keeps its log. ``forgetful_broker`` marks the embedded cluster: topics come into being
    when asked for, and intake is published again until it is settled.
    """

    database_url: str = field(repr=False)
    kafka_brokers: str
    master_key: bytes = field(repr=False)
    retired_keys: tuple[bytes, ...] = field(default=(), repr=False)
    consumer_group: str = "gotong"
    log_id: str = ""
    forgetful_broker: bool = False
    log_level: str = "info"

    partitions: int = 4
    replication_factor: int = 1
    largest_message_bytes: int = 8 * 1024 * 1024

    #: Transactions under way at once per process, each with its own partitions.
    intake_lanes: int = 2
    batch_messages: int = 4_000
    batch_bytes: int = 2 * 1024 * 1024
    retry_first_seconds: float = 0.1
    retry_longest_seconds: float = 10.0
    commit_interval_seconds: float = 1.0
    #: After this silence of a worker the broker gives its partitions to others.
    session_timeout_seconds: float = 10.0
    #: After this silence of whoever leads relay or schedules PostgreSQL ends its session, and another leads.
    #: More than the broker may take to acknowledge.
    lead_patience_seconds: float = 15.0
    #: A worker that stands still inside a transaction holds its locks no longer than this; more than any step
    #: computes between two statements.
    transaction_patience_seconds: float = 60.0

    relay_batch_messages: int = 500
    relay_poll_seconds: float = 0.05
    #: Between two attempts to lead, and after trouble with broker or database.
    relay_rest_seconds: float = 1.0
    #: How long intake may stay unsettled before a forgetful broker is suspected to have lost it.
    relay_patience_seconds: float = 20.0
    #: Unsettled intake bytes allowed in the broker at once; the embedded one keeps 5 MB per partition.
    intake_in_flight_bytes: int = 3 * 1024 * 1024

    #: A topic pauses when more than this share of its last so many events is refused; 1 never pauses.
    intake_pause_share: float = 0.5
    intake_pause_events: int = 200
    #: How often what waits in a paused topic is tried by itself; nothing refused then is stored.
    intake_trial_seconds: float = 60.0

    schedule_interval_seconds: float = 0.1
    settle_seconds: float = 0.2
    shortest_interval_seconds: float = 0.5
    #: Under a steady stream it never gets quiet, so this is what a change waits: keep it under a second.
    longest_wait_seconds: float = 0.8
    #: How long a regency rests after a match, in shares of what that took, less the longest wait.
    rest_share: float = 1.0
    purge_interval_seconds: float = 60.0
    outbox_kept_seconds: float = 7 * 86_400.0
    #: How often the books are audited, and how often the daily chores look whether a new day has come.
    audit_interval_seconds: float = 900.0
    daily_interval_seconds: float = 3_600.0
    solver_time_limit_seconds: float = 20.0

    #: For the links in alerts; the mail server as an Apprise address; networks a webhook may reach
    #: although they are internal.
    portal_url: str = "http://127.0.0.1:6402"
    mail_url: str | None = field(default=None, repr=False)
    webhook_networks: tuple[str, ...] = ()

    #: Where a monitoring system may ask this process how it fares; no port, no answer.
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None

    stop_timeout_seconds: float = 8.0
