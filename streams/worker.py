"""A worker process: the agents, the relay and the schedules, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Coroutine
from typing import Any

import structlog
from aiokafka.errors import KafkaError

from models.database import open_engine
from models.region import RegionTable
from models.vault import Vault
from streams import failpoints
from streams.app import WorkerParts, create_app, make_steps
from streams.delivery import Delivery
from streams.measure import StepMetrics, serve_metrics
from streams.relay import Relay
from streams.schedules import Schedules
from streams.settings import StreamSettings
from streams.solver_process import SolverProcess
from streams.topics import ensure_topics, read_log_id
from workflow.context import IntakeContext
from workflow.pause_intake import IntakeGuard

_log = structlog.get_logger("gotong.streams.worker")

_REST_SECONDS = 1.0
_LONGEST_REST_SECONDS = 15.0
_WATCH_SECONDS = 1.0
_SAY_AGAIN_SECONDS = 10.0
_APP_STOP_SECONDS = 5.0
#: A batch changes threads a dozen times; while another thread computes (a snapshot, a plan), each change
#: waits this long. Python's own 5 ms would add up to what an event may take in all.
_SWITCH_SECONDS = 0.001


def run_worker(settings: StreamSettings) -> int:
    """Run a worker until SIGTERM or SIGINT; returns the process's exit code.

    0: stopped as asked. 1: something did not stop within ``stop_timeout_seconds`` (then the process
    ends at once, its children with it; nothing is lost, since nothing unfinished was acknowledged).
    """
    _configure_logging(settings.log_level)
    sys.setswitchinterval(_SWITCH_SECONDS)
    return asyncio.run(_run(settings))


async def _run(settings: StreamSettings) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    solver = SolverProcess()

    def stop() -> None:
        if not stopping.is_set():
            _log.info("stopping")
            stopping.set()
            _end_after(settings.stop_timeout_seconds, solver)

    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop)
    engine = open_engine(
        settings.database_url,
        pool_size=8,
        application_name="gotong-worker",
        transaction_patience_seconds=settings.transaction_patience_seconds,
    )
    failpoints.watch_transactions(engine)
    context = IntakeContext(
        regions=RegionTable.load(),
        vault=Vault(settings.master_key, retired_keys=settings.retired_keys),
        guard=IntakeGuard(share=settings.intake_pause_share, events=settings.intake_pause_events),
    )
    parts = WorkerParts(engine=engine, context=context, solver=solver, stopping=stopping)
    relay = Relay(settings, engine, stopping)
    schedules = Schedules(settings, engine, stopping, relay.wake)
    delivery = Delivery(settings, engine, context.vault, stopping)
    metrics = StepMetrics()
    solver.start()
    try:
        with serve_metrics(metrics, settings):
            async with asyncio.TaskGroup() as group:
                group.create_task(relay.run())
                group.create_task(schedules.run())
                group.create_task(delivery.run())
                group.create_task(_keep_app_running(settings, parts, metrics))
    finally:
        await asyncio.to_thread(solver.stop)
        engine.dispose()
    _log.info("stopped")
    return 0


async def _keep_app_running(settings: StreamSettings, parts: WorkerParts, metrics: StepMetrics) -> None:
    """Run the Faust app; build another when it crashes, since Faust gives up where Kafka comes back."""
    rest = _REST_SECONDS
    while not parts.stopping.is_set():
        started = asyncio.get_running_loop().time()
        try:
            await _run_app(settings, parts, metrics)
        except Exception as error:  # noqa: BLE001 - nothing may end the loop
            level = "warning" if isinstance(error, KafkaError) else "error"
            getattr(_log, level)("streams_interrupted", error=type(error).__name__)
        if asyncio.get_running_loop().time() - started > _LONGEST_REST_SECONDS:
            rest = _REST_SECONDS
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(parts.stopping.wait(), rest)
        rest = min(rest * 2, _LONGEST_REST_SECONDS)


async def _run_app(settings: StreamSettings, parts: WorkerParts, metrics: StepMetrics) -> None:
    await ensure_topics(settings)
    log_id = await read_log_id(settings)
    with tempfile.TemporaryDirectory(prefix="gotong-faust-") as state_dir:
        app = create_app(
            settings,
            parts.engine,
            steps=metrics.measure(make_steps(settings, parts)),
            log_id=log_id,
            stopping=parts.stopping,
            state_dir=state_dir,
        )
        try:
            await _until_first(app.start(), *_endings(app, parts.stopping))
            _raise_crash(app)
            if not parts.stopping.is_set():
                _log.info("running", log_id=log_id, group=settings.consumer_group)
                await _until_first(*_endings(app, parts.stopping))
                _raise_crash(app)
        finally:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(app.stop(), _APP_STOP_SECONDS)


def _endings(app: Any, stopping: asyncio.Event) -> list[Coroutine[Any, Any, object]]:
    return [stopping.wait(), app._crashed.wait(), app._stopped.wait(), _watch_group(app)]


def _raise_crash(app: Any) -> None:
    if app.crashed:
        reason = app.crash_reason
        raise reason if isinstance(reason, Exception) else RuntimeError("the Faust app crashed")


async def _until_first(*waits: Coroutine[Any, Any, object]) -> None:
    """Until the first of them is done; raises what it raised. The others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()


async def _watch_group(app: Any) -> None:
    """Raise when aiokafka has given up on the consumer group, which Faust would not notice.

    A refused session time-out or a missing permission ends aiokafka's coordination task for good; its own
    consumer says so at the next poll, but Faust polls the fetcher behind it.
    """
    while True:
        await asyncio.sleep(_WATCH_SECONDS)
        thread = getattr(app.consumer, "_thread", None)
        consumer = getattr(thread, "_consumer", None)
        coordinator = getattr(consumer, "_coordinator", None)
        if coordinator is not None and hasattr(coordinator, "_coordination_task"):
            coordinator.check_errors()


def _end_after(seconds: float, solver: SolverProcess) -> None:
    """A worker that hangs while stopping is ended; the database and the inbox make that safe."""

    def end() -> None:
        _log.error("stop_timeout", seconds=seconds)
        sys.stderr.flush()
        pid = solver.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def _configure_logging(level: str) -> None:
    """One JSON object per line on standard error, ours and the libraries' alike; never a payload."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        )
    )
    handler.addFilter(_Sparingly())
    logging.root.handlers = [handler]
    logging.root.setLevel(max(number, logging.WARNING))


class _Sparingly(logging.Filter):
    """Lets each of the libraries' messages through once in a while: a lost broker brings dozens a second."""

    def __init__(self) -> None:
        super().__init__()
        self._said_at: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key = (record.name, str(record.msg))
        if record.created - self._said_at.get(key, 0.0) < _SAY_AGAIN_SECONDS:
            return False
        self._said_at[key] = record.created
        return True
