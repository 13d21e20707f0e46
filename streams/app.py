"""The Faust app: which topic feeds which workflow step. Built when asked for, never at import."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import faust
from sqlalchemy import Engine

from streams import topics
from streams.alert_schedules import add_alert_schedules
from streams.allocation import make_allocation_step
from streams.batching import Batcher, BatchLimits
from streams.consumer import BulkConsumer, BulkTransport, FetchedRecords
from streams.processing import BatchProcessor, Step
from streams.settings import StreamSettings
from streams.standstill import Standstill
from workflow.alert_readings import judge_balances
from workflow.context import IntakeContext
from workflow.fund_change import change_funds
from workflow.intake_position import read_positions, store_positions
from workflow.register import register_workers
from workflow.solver import Solver

#: Fetches (of at most 1 MiB per partition) that may wait before a partition is held back.
_QUEUED_FETCHES = 8
#: A broker answers a waiting fetch as soon as a message comes. The embedded one answers only when the time
#: is over, so that a fetch which found nothing would keep what comes next waiting: it is given less.
_FETCH_WAIT_MS = 1_500
_EMBEDDED_FETCH_WAIT_MS = 50
#: Few messages, each of weight: no need for two transactions at once.
_ONE_LANE = {
    topics.PLEDGE_CHANGED,
    topics.BUDGET_CHANGED,
    topics.ALLOCATION_REQUESTED,
    topics.BALANCE_CHANGED,
}
#: Long retries while the database is away must not cost the group membership.
_LONGEST_POLL_PAUSE_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What outlives one connection to the broker: the database, the keys, the solver, the wish to stop."""

    engine: Engine
    context: IntakeContext
    solver: Solver
    stopping: asyncio.Event


def make_steps(settings: StreamSettings, parts: WorkerParts) -> dict[str, Step]:
    """The workflow step of every input topic."""
    register = partial(register_workers, parts.engine, parts.context)
    change = partial(change_funds, parts.engine, parts.context)
    return {
        topics.WORKER_UNCOVERED: register,
        topics.PLEDGE_CHANGED: change,
        topics.BUDGET_CHANGED: change,
        topics.ALLOCATION_REQUESTED: make_allocation_step(
            parts.engine, parts.context, parts.solver, settings
        ),
        topics.BALANCE_CHANGED: partial(judge_balances, parts.engine, parts.context),
    }


def create_app(
    settings: StreamSettings,
    engine: Engine,
    *,
    steps: Mapping[str, Step],
    log_id: str,
    stopping: asyncio.Event,
    state_dir: str,
) -> Any:
    """A ``faust.App`` with one agent per topic of ``steps``.

    ``state_dir`` is an empty folder for Faust's own housekeeping; nothing of ours is kept there. How far
    each partition was taken is kept in the database of ``engine``, beside what was taken.
    """
    app = faust.App(
        settings.consumer_group,
        broker=[f"kafka://{broker}" for broker in settings.kafka_brokers.split(",")],
        store="memory://",
        datadir=state_dir,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=1024 * 1024,
        broker_commit_interval=settings.commit_interval_seconds,
        broker_max_poll_interval=_LONGEST_POLL_PAUSE_SECONDS,
        broker_commit_livelock_soft_timeout=_LONGEST_POLL_PAUSE_SECONDS,
        stream_processing_timeout=_LONGEST_POLL_PAUSE_SECONDS,
        broker_request_timeout=30.0,
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=settings.session_timeout_seconds / 4,
        stream_wait_empty=True,
        stream_recovery_delay=0.0,
    )
    app.transport = BulkTransport(app.conf.broker_consumer, app)
    app.transport.fetch_wait_ms = _EMBEDDED_FETCH_WAIT_MS if settings.forgetful_broker else _FETCH_WAIT_MS
    app.transport.read_positions = partial(read_positions, engine, log_id)
    for topic, step in steps.items():
        _add_agent(app, engine, topic, step, settings=settings, log_id=log_id, stopping=stopping)
    add_alert_schedules(app, engine)
    return app


def _add_agent(
    app: Any,
    engine: Engine,
    topic: str,
    step: Step,
    *,
    settings: StreamSettings,
    log_id: str,
    stopping: asyncio.Event,
) -> None:
    def consumer() -> BulkConsumer:
        return cast(BulkConsumer, app.consumer)

    processor = BatchProcessor(
        topic,
        step,
        settings=settings,
        log_id=log_id,
        stopping=stopping,
        store_positions=partial(store_positions, engine, log_id),
        stand_still=Standstill(engine, settings, stopping).wait,
        acknowledge=lambda fetched: consumer().mark_done(fetched),
        lanes=1 if topic in _ONE_LANE else settings.intake_lanes,
    )
    lanes: list[Batcher[FetchedRecords]] = [
        Batcher(
            processor.process,
            limits=BatchLimits(messages=settings.batch_messages, size_bytes=settings.batch_bytes),
            count=lambda fetched: len(fetched.records),
            weigh=lambda fetched: fetched.size_bytes,
            is_current=lambda fetched: fetched.generation == app.consumer_generation_id,
        )
        for _ in range(processor.lanes)
    ]

    async def wait_idle() -> None:
        for lane in lanes:
            await lane.wait_idle()

    async def take(stream: Any) -> None:
        consumer().in_flight[topic] = wait_idle
        async for fetched in stream:
            await lanes[fetched.tp.partition % len(lanes)].put(fetched)

    app.agent(app.topic(topic, value_type=bytes, maxsize=_QUEUED_FETCHES), name=f"take-{topic}")(take)

    async def run_batches() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for lane in lanes:
                    group.create_task(lane.run())
        finally:
            processor.close()

    app.task(run_batches)
